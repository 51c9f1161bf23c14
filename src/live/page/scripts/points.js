/** The panel of points that can be turned: depth, the image's colours, and the lens. */

import { Cloud } from "./cloud.js";
import { ASSUMED_VIEW_DEGREES, boxOfModel, intrinsics } from "./geometry.js";
import { NO_DEPTH } from "./maps.js";
import { Panel } from "./panel.js";
import { view } from "./view.js";

/** The first view is from a little to the side and above, so that the depth is seen at once. */
const FIRST = { yaw: 0.35, pitch: 0.18, zoom: 1.15 };
const TURN_PER_PIXEL = 0.008;
const TURN_PER_KEY = 0.1;
const MOST_PITCH = 1.5;
/** The share by which the pivot follows the middle of the depths at each frame. */
const FOLLOWED = 0.05;

export class PointsPanel extends Panel {
  #canvas = document.getElementById("cloud");
  #lens = document.getElementById("lens");
  #hint = this.#lens.textContent;
  #cloud = null;
  #failure = "";
  #eye = { ...FIRST };
  /** Metres from the camera to what the points turn around; null until there are points. */
  #pivot = null;

  constructor(on) {
    super("points", on);
    try {
      this.#cloud = new Cloud(this.#canvas);
    } catch (err) {
      this.#failure = `${err.message}.`;
    }
    document.getElementById("reset-view").addEventListener("click", () => {
      this.#eye = { ...FIRST };
      this.#pivot = null;
      this.#redraw();
    });
    this.#canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    this.#canvas.addEventListener("webglcontextrestored", () => (this.#cloud = new Cloud(this.#canvas)));
    this.#canvas.addEventListener("pointerdown", ({ pointerId }) =>
      this.#canvas.setPointerCapture(pointerId),
    );
    this.#canvas.addEventListener("pointermove", (event) => this.#drag(event));
    this.#canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#canvas.addEventListener("keydown", (event) => this.#turnByKey(event));
    new ResizeObserver(() => this.#redraw()).observe(this.stage);
  }

  lacks() {
    return view.hello && !view.hello.depth ? NO_DEPTH : this.#failure;
  }

  needs() {
    return ["image", "depth"];
  }

  canDraw() {
    return view.frame.image !== null && view.frame.has("depth");
  }

  draw() {
    const { frame } = view;
    this.#cloud.load(frame.depth, frame.image, placed(frame));
    // It follows the scene slowly, so that noise does not shake the view.
    const middle = middleDepth(frame.depth);
    this.#pivot =
      this.#pivot && middle ? this.#pivot + FOLLOWED * (middle - this.#pivot) : (middle ?? this.#pivot);
    this.#redraw();
    const assumed = `No calibration: a field of view of ${ASSUMED_VIEW_DEGREES} degrees is assumed. `;
    const text = frame.intrinsics ? this.#hint : assumed + this.#hint;
    if (this.#lens.textContent !== text) this.#lens.textContent = text;
  }

  describe() {
    const degrees = (radians) => Math.round((radians * 180) / Math.PI);
    const { yaw, pitch } = this.#eye;
    const turn = `turned by ${degrees(yaw)} degrees sideways and ${degrees(pitch)} downwards`;
    this.#canvas.setAttribute("aria-label", `Points of the image, ${turn}`);
  }

  async snapshot() {
    this.#redraw();
    // In the same task as the drawing, before the browser takes the pixels away.
    const snapshot = document.createElement("canvas");
    Object.assign(snapshot, { width: this.#canvas.width, height: this.#canvas.height });
    snapshot.getContext("2d").drawImage(this.#canvas, 0, 0);
    return snapshot;
  }

  #redraw() {
    if (!this.isShown || !view.frame?.has("depth") || this.#pivot === null) return;
    const { width, height } = this.stage.getBoundingClientRect();
    const [wide, high] = [width, height].map((side) => Math.max(1, Math.round(side * devicePixelRatio)));
    if (this.#canvas.width !== wide || this.#canvas.height !== high) {
      Object.assign(this.#canvas, { width: wide, height: high });
    }
    const { yaw, pitch, zoom } = this.#eye;
    const [fx, fy] = intrinsics(view.frame);
    const { width: boxWidth, height: boxHeight } = boxOfModel(view.frame);
    // At no turn and no zoom the view is the camera's.
    const focal = [(2 * fx * boxWidth) / view.frame.model[0], (2 * fy * boxHeight) / view.frame.model[1]];
    this.#cloud.draw({ turn: turned(yaw, pitch), pivot: this.#pivot, distance: this.#pivot * zoom, focal });
  }

  #turn(yaw, pitch) {
    this.#eye.yaw += yaw;
    this.#eye.pitch = Math.min(Math.max(this.#eye.pitch + pitch, -MOST_PITCH), MOST_PITCH);
    this.#redraw();
  }

  #approach(factor) {
    this.#eye.zoom = Math.min(Math.max(this.#eye.zoom * factor, 0.1), 10);
    this.#redraw();
  }

  #drag({ buttons, movementX, movementY }) {
    if (buttons & 1) this.#turn(movementX * TURN_PER_PIXEL, movementY * TURN_PER_PIXEL);
  }

  #wheel(event) {
    event.preventDefault();
    this.#approach(Math.exp(event.deltaY * 0.001));
  }

  #turnByKey(event) {
    const turn = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const factor = { "+": 0.9, "=": 0.9, "-": 1 / 0.9 }[event.key];
    if (!(turn || factor)) return;
    event.preventDefault();
    if (turn) this.#turn(turn[0] * TURN_PER_KEY, turn[1] * TURN_PER_KEY);
    else this.#approach(factor);
    this.describe();
  }
}

/** Where pixels of the depth map look, lie in the image, and lie in the camera's image. */
function placed(frame) {
  const { size } = frame.depth;
  const [fx, fy, cx, cy] = intrinsics(frame);
  const zoom = size.map((side, axis) => side / frame.model[axis]);
  const center = [cx, cy].map((c, axis) => (c + 0.5) * zoom[axis] - 0.5);
  const ofMap = size.flatMap((side) => 1 / side);
  const box = boxOfModel(frame);
  const camera = [box.width * ofMap[0], box.height * ofMap[1]];
  const shares = [...camera, box.left + 0.5 * camera[0], box.top + 0.5 * camera[1]];
  // The image shows the camera's frame, or the model input, of which the depth is a map.
  const isModel = frame.has("image");
  return {
    lens: [fx * zoom[0], fy * zoom[1], ...center],
    camera: shares,
    image: isModel ? [...ofMap, 0.5 * ofMap[0], 0.5 * ofMap[1]] : shares,
  };
}

/** Turns about the vertical axis, then tilts; column by column. */
function turned(yaw, pitch) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy];
}

/** The median of the depths, metres, by a sample. */
function middleDepth({ values, scale }) {
  const sample = values.filter((value, i) => value && i % 61 === 0).sort();
  return sample.length ? sample[sample.length >> 1] * scale : null;
}
