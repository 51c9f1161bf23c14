/** Strokes over an image: a pointer collects the patches under its path, and they are outlined meanwhile. */

import { boxOfModel, mapPixel } from "./geometry.js";
import { lay } from "./panel.js";
import { patchAt, view } from "./view.js";

/** Between two places of the pointer the path is followed in so many steps for each patch. */
const STEPS_PER_PATCH = 4;

/** @typedef {import("./geometry.js").Point} Point */

export class Strokes {
  /** Whether the pointer draws. */
  #isOn = false;
  #stage;
  #placeOf;
  #done;
  #outline = document.getElementById("outline");
  /** What is being drawn: the frame that it is drawn on, and its patches by their names. */
  #stroke = null;

  /**
   * @param {import("./panel.js").Panel} panel whose image is drawn on
   * @param {(frame: import("./frame.js").Frame, patches: Point[]) => void} done a stroke or a click has
   *   ended; without patches where the model does not look
   */
  constructor(panel, done) {
    this.#stage = panel.stage;
    this.#placeOf = (event) => panel.placeOf(event);
    this.#done = done;
    this.#stage.addEventListener("pointerdown", (event) => this.#begin(event));
    this.#stage.addEventListener("pointermove", (event) => this.#follow(event));
    this.#stage.addEventListener("pointerup", (event) => this.#end(event));
    // The browser scrolls or zooms instead, or the pointer is gone.
    for (const name of ["pointercancel", "lostpointercapture"]) {
      this.#stage.addEventListener(name, () => this.cancel());
    }
  }

  set isOn(isOn) {
    this.cancel();
    this.#isOn = isOn;
    this.#stage.classList.toggle("drawn", isOn);
    this.point();
  }

  /** Resolves when no stroke is under way: as long as one is, the image under it must stay. */
  async ended() {
    while (this.#stroke) await this.#stroke.ended;
  }

  /** Ends a stroke of which nothing is to come. @returns {boolean} whether there was one */
  cancel() {
    if (!this.#stroke) return false;
    const { end } = this.#stroke;
    this.#stroke = null;
    end();
    this.point();
    return true;
  }

  /** Outlines what a click at the cursor would mean, or the stroke so far. */
  point() {
    const patch = this.#isOn ? patchAt(view.cursor) : null;
    const patches = this.#stroke ? [...this.#stroke.patches.values()] : patch ? [patch] : [];
    this.#outline.toggleAttribute("hidden", patches.length === 0);
    if (!patches.length) return;
    const frame = this.#stroke?.frame ?? view.frame;
    lay(this.#outline, boxOfModel(frame));
    this.#outline.setAttribute("viewBox", `0 0 ${frame.grid.join(" ")}`);
    const path = border(patches);
    for (const line of this.#outline.children) line.setAttribute("d", path);
  }

  #begin(event) {
    if (!this.#isOn || event.button !== 0 || !event.isPrimary || !view.frame) return;
    this.cancel();
    let end;
    const ended = new Promise((done) => (end = done));
    this.#stage.setPointerCapture(event.pointerId);
    this.#stroke = { frame: view.frame, patches: new Map(), last: null, ended, end };
    this.#follow(event);
  }

  #follow(event) {
    if (!this.#stroke || !event.isPrimary) return;
    const { frame, patches, last } = this.#stroke;
    // Outside of the image nothing is drawn, and the path begins anew where it comes back.
    const at = isOver(this.#stage, event) ? this.#placeOf(event) : null;
    this.#stroke.last = at;
    if (!at) return;
    for (const place of path(frame, last ?? at, at)) {
      const patch = mapPixel(frame, frame.grid, place);
      if (patch) patches.set(patch.join(), patch);
    }
    this.point();
  }

  #end(event) {
    if (!this.#stroke || !event.isPrimary) return;
    this.#follow(event);
    const { frame, patches } = this.#stroke;
    this.cancel();
    this.#done(frame, [...patches.values()]);
  }
}

/** Whether a pointer that is captured is still over the stage. */
function isOver(stage, { clientX, clientY }) {
  const { left, top, right, bottom } = stage.getBoundingClientRect();
  return clientX >= left && clientX <= right && clientY >= top && clientY <= bottom;
}

/** Places from one pixel of the camera to another, close enough that no patch between them is left out. */
function path(frame, from, to) {
  const patches = [0, 1].map((axis) => {
    const scale = frame.model_from_camera[axis === 0 ? 0 : 4] * (frame.grid[axis] / frame.model[axis]);
    return Math.abs(to[axis] - from[axis]) * scale;
  });
  const n = Math.ceil(STEPS_PER_PATCH * Math.max(...patches));
  const between = (share) => from.map((x, axis) => x + (to[axis] - x) * share);
  return [...Array(n).keys()].map((step) => between(step / n)).concat([to]);
}

/** The border around patches, as an SVG path in patches: each side that no other patch of them shares. */
function border(patches) {
  const names = new Set(patches.map(String));
  const sides = ([x, y]) => [
    [[x, y - 1], `M${x} ${y}h1`],
    [[x, y + 1], `M${x} ${y + 1}h1`],
    [[x - 1, y], `M${x} ${y}v1`],
    [[x + 1, y], `M${x + 1} ${y}v1`],
  ];
  return patches
    .flatMap(sides)
    .filter(([neighbour]) => !names.has(String(neighbour)))
    .map(([, line]) => line)
    .join("");
}
