/** What every panel has: a switch, a full screen, a file, and a stage with canvases in the camera's frame. */

import { cameraFromModel, middleOfPatch, WHOLE } from "./geometry.js";
import { speak } from "./notices.js";
import { patchAt, view } from "./view.js";

/** Images that are saved are at least so wide. */
const SAVED_WIDTH = 1024;
const tools = document.getElementById("panel-tools");

export class Panel {
  /** Whether the user wants it. */
  isOn = true;

  /**
   * @param {string} id of its section
   * @param {object} on what the user did here
   * @param {() => void} on.changed something is shown that was not, or the other way round
   * @param {(at: import("./geometry.js").Point | null) => void} on.point pointed somewhere
   * @param {(event: Event) => void} on.pin chose the place under the cursor, by a click or a key
   */
  constructor(id, on) {
    this.section = document.getElementById(id);
    this.title = this.section.querySelector("h2").textContent;
    this.stage = this.section.querySelector(".stage");
    this.empty = this.section.querySelector(".empty");
    this.waiting = this.empty.textContent;
    this.reading = this.section.querySelector(".reading");
    this.on = on;
    this.#addTools();
    if ("keys" in this.stage.dataset) this.#addPointing();
  }

  /** Names of the blobs that it shows. @returns {string[]} */
  needs() {
    return [];
  }

  /** Why it cannot be shown by this node, and the way out; empty where it can. */
  lacks() {
    return "";
  }

  /** Whether the frame has what it shows. */
  canDraw() {
    return this.needs().every((name) => name === "image" || view.frame.has(name));
  }

  /** Draws the newest frame, of which `canDraw` holds. */
  draw() {}

  /** What the place under the cursor is. @returns {string} */
  read() {
    return "";
  }

  /** Says in words what the canvases show; called about once a second. */
  describe() {}

  get isShown() {
    return this.isOn && !this.lacks();
  }

  /** Shows the newest frame, or says why there is nothing to see. */
  update() {
    this.section.classList.toggle("off", !this.isShown);
    const isDrawn = this.isShown && view.frame !== null && this.canDraw();
    if (isDrawn) this.draw();
    this.empty.hidden = isDrawn;
    const text =
      this.lacks() || (this.isOn ? this.waiting : "Switched off: nothing is computed for this panel");
    if (this.empty.textContent !== text) this.empty.textContent = text;
    this.point();
  }

  /** Moves the cross to the cursor and tells what is there. */
  point() {
    const at = view.cursor ?? view.pin;
    const cross = this.stage.querySelector(".cross");
    const isDrawn = this.empty.hidden && view.frame !== null;
    this.reading.textContent = at && isDrawn ? this.read(at) : "";
    if (!cross) return;
    cross.hidden = !(at && isDrawn);
    if (cross.hidden) return;
    const [width, height] = view.frame.size;
    cross.style.left = `${((at[0] + 0.5) / width) * 100}%`;
    cross.style.top = `${((at[1] + 0.5) / height) * 100}%`;
    cross.classList.toggle("pinned", view.pin !== null && view.cursor === null);
  }

  /** The pixel of the camera under a pointer; null without a frame. */
  placeOf({ clientX, clientY }) {
    if (!view.frame) return null;
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    const share = [(clientX - left) / width, (clientY - top) / height];
    return share.map((x, axis) => Math.min(Math.max(x, 0), 0.999999) * view.frame.size[axis] - 0.5);
  }

  toggle() {
    this.isOn = !this.isOn;
    this.switch.setAttribute("aria-checked", this.isOn);
    this.on.changed();
  }

  enlarge() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.section.requestFullscreen();
  }

  /** What is seen on the stage, as a canvas. */
  async snapshot() {
    const [width, height] = view.frame.size;
    const zoom = Math.max(1, SAVED_WIDTH / width);
    const snapshot = Object.assign(document.createElement("canvas"), {
      width: width * zoom,
      height: height * zoom,
    });
    const context = snapshot.getContext("2d");
    for (const canvas of this.stage.querySelectorAll("canvas:not([hidden])")) {
      const style = getComputedStyle(canvas);
      const box = canvas.box ?? WHOLE;
      context.globalAlpha = Number(style.opacity);
      context.imageSmoothingEnabled = style.imageRendering !== "pixelated";
      context.drawImage(
        canvas,
        box.left * snapshot.width,
        box.top * snapshot.height,
        box.width * snapshot.width,
        box.height * snapshot.height,
      );
    }
    return snapshot;
  }

  async save() {
    if (!this.empty.hidden || !view.frame) return;
    const snapshot = await this.snapshot();
    const blob = await new Promise((done) => snapshot.toBlob(done, "image/png"));
    const [seconds, nanoseconds] = view.frame.stamp;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `pixio-${this.section.id}-${seconds}.${String(nanoseconds).padStart(9, "0")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    speak(`Saved ${link.download}`);
  }

  /** Says what the keys do here. @param {"pins" | "teaches"} enter what Enter does with a patch */
  explainKeys(enter) {
    const text = `${this.title}. Arrow keys move the cursor by one patch, Enter ${enter} the patch`;
    this.stage.setAttribute("aria-label", text);
  }

  #addTools() {
    const made = tools.content.cloneNode(true);
    for (const button of made.querySelectorAll("button")) {
      button.setAttribute("aria-label", `${button.getAttribute("aria-label")}: ${this.title}`);
    }
    const press = (name, run) => made.querySelector(`[data-do=${name}]`).addEventListener("click", run);
    press("save", () => this.save());
    press("enlarge", () => this.enlarge());
    press("switch", () => this.toggle());
    this.switch = made.querySelector("[data-do=switch]");
    this.section.querySelector("header").append(made);
  }

  #addPointing() {
    const { stage } = this;
    stage.tabIndex = 0;
    stage.setAttribute("role", "application");
    this.explainKeys("pins");
    stage.addEventListener("pointermove", (event) => this.on.point(this.placeOf(event)));
    stage.addEventListener("pointerleave", () => this.on.point(null));
    stage.addEventListener("click", (event) => (this.on.point(this.placeOf(event)), this.on.pin(event)));
    stage.addEventListener("blur", () => this.on.point(null));
    stage.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!view.frame || !(step || event.key === "Enter")) return;
    event.preventDefault();
    // A key that is held down means one patch.
    if (!step) return event.repeat || this.on.pin(event);
    const { grid, model } = view.frame;
    const old =
      patchAt(view.cursor ?? view.pin) ??
      patchAt(
        cameraFromModel(
          view.frame,
          model.map((x) => x / 2),
        ),
      );
    const patch = old.map((x, axis) => Math.min(Math.max(x + step[axis], 0), grid[axis] - 1));
    this.on.point(middleOfPatch(view.frame, patch));
    speak(this.read(view.cursor) || `Patch ${patch[0]}, ${patch[1]}`);
  }
}

/**
 * Lays a canvas over its part of the camera's image.
 * @param {HTMLCanvasElement} canvas
 * @param {import("./geometry.js").Box} box
 */
export function lay(canvas, box) {
  canvas.box = box;
  for (const [side, share] of Object.entries(box)) canvas.style[side] = `${share * 100}%`;
}

/** Draws the frame's image, each of its pixels once. */
export function drawImage(canvas, { image, box }) {
  if (!image) return;
  resize(canvas, [image.width, image.height]);
  canvas.getContext("2d").drawImage(image, 0, 0);
  lay(canvas, box);
}

/**
 * Fills a canvas of the map's own size with exactly these colours.
 * @param {HTMLCanvasElement} canvas
 * @param {import("./geometry.js").Size} size
 * @param {(pixel: number) => number} colorAt the colour of a pixel, as `packed` makes it
 */
export function fill(canvas, size, colorAt) {
  resize(canvas, size);
  const pixels = new ImageData(...size);
  const colors = new Uint32Array(pixels.data.buffer);
  for (let i = 0; i < colors.length; i++) colors[i] = colorAt(i);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** An opaque colour as RGBA in the order of bytes; the machines of browsers are little-endian. */
export function packed(red, green, blue) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function resize(canvas, [width, height]) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}
