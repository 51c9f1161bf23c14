/** The panels of maps: the camera's image under labels, principal components, depth. */

import { boxOfModel } from "./geometry.js";
import { drawImage, fill, lay, packed, Panel } from "./panel.js";
import { view } from "./view.js";

/** Classes under this share of the image are left out of the legend. */
const LEGEND_SHARE = 0.005;
const UNLABELLED = 255;

export class CameraPanel extends Panel {
  #image = this.section.querySelector(".image");
  #labels = document.getElementById("labels-map");
  #opacity = document.getElementById("opacity");
  #legend = document.getElementById("legend");
  /** The colour of every label, as `fill` takes it. */
  #palette = new Uint32Array(256);

  constructor(on) {
    super("camera", on);
    const setOpacity = () => (this.#labels.style.opacity = this.#opacity.value);
    setOpacity();
    // At zero the labels are not asked for.
    this.#opacity.addEventListener("input", () => (setOpacity(), on.changed()));
  }

  /** Takes the classes of a node. */
  begin() {
    const { classes } = view;
    document.getElementById("opacity-choice").hidden = !classes;
    this.#legend.replaceChildren(
      ...(classes ? [] : [textItem("No segmentation head: load one with --segmentation-head FILE")]),
    );
    this.recolor();
  }

  /** Takes the colours of the classes. */
  recolor() {
    this.#palette.fill(0);
    view.classes?.forEach(({ color }, label) => (this.#palette[label] = packed(...color)));
  }

  needs() {
    return view.classes && this.#opacity.value > 0 ? ["image", "labels"] : ["image"];
  }

  canDraw() {
    return view.frame.image !== null;
  }

  draw() {
    const { frame } = view;
    drawImage(this.#image, frame);
    this.#labels.hidden = !(frame.has("labels") && this.#opacity.value > 0);
    if (this.#labels.hidden) return;
    const { values, size } = frame.labels;
    const palette = this.#palette;
    fill(this.#labels, size, (i) => palette[values[i]]);
    lay(this.#labels, boxOfModel(frame));
  }

  read(at) {
    const label = view.frame.has("labels") ? view.frame.labelAt(at) : null;
    const name = label === null ? "" : (view.classes?.[label]?.name ?? "");
    return [`${Math.round(at[0])}, ${Math.round(at[1])}`, name].filter(Boolean).join(" · ");
  }

  describe() {
    const { frame, classes } = view;
    this.#image.setAttribute("aria-label", `The camera's image, ${frame.size.join(" by ")} pixels`);
    if (!classes) return;
    if (!frame.has("labels")) return this.#legend.replaceChildren();
    const counts = new Uint32Array(256);
    const { values } = frame.labels;
    for (const label of values) counts[label]++;
    const seen = classes
      .map(({ name, color }, label) => ({ name, color, share: counts[label] / values.length }))
      .filter(({ share }) => share >= LEGEND_SHARE);
    const text = seen.map(({ name, share }) => `${name} ${Math.round(share * 100)} %`).join(", ");
    this.#labels.setAttribute("aria-label", `Segmentation over the image: ${text || "nothing"}`);
    const isBare = counts[UNLABELLED] === values.length;
    this.#legend.replaceChildren(
      ...(isBare ? [textItem("No pixel has a class")] : seen.map(legendItem)),
    );
  }
}

function textItem(textContent) {
  return Object.assign(document.createElement("li"), { textContent });
}

function legendItem({ name, color, share }) {
  const item = document.createElement("li");
  const swatch = document.createElement("i");
  swatch.style.background = `rgb(${color})`;
  item.append(swatch, name);
  item.title = `${Math.round(share * 100)} % of the image`;
  return item;
}

export class FeaturesPanel extends Panel {
  #map = document.getElementById("pca-map");
  #basis = document.getElementById("basis");

  constructor(on) {
    super("features", on);
    document.getElementById("reset-basis").addEventListener("click", on.reset);
  }

  needs() {
    return ["pca"];
  }

  draw() {
    const { values, size } = view.frame.pca;
    fill(this.#map, size, (i) => packed(values[3 * i], values[3 * i + 1], values[3 * i + 2]));
    lay(this.#map, boxOfModel(view.frame));
  }

  /** Takes what the node says of the basis. */
  setBasis(text) {
    if (!text) return;
    // The file of a basis would fill the line.
    const short = text.replace(/ in \/.*/, "");
    this.#basis.textContent = `The first three principal components as red, green and blue. Basis: ${short}`;
    this.#basis.title = text;
    if (text.includes("estimated")) this.waiting = `No colours yet: ${text}`;
  }

  describe() {
    const label = "Patch features as colours: patches of one colour are alike to the model";
    this.#map.setAttribute("aria-label", label);
  }
}

/** How to get a depth head, for the panels that need one. */
export const NO_DEPTH =
  "No depth head is loaded. Start the node with --depth-head FILE, such as that of models/pixio-tiny.";

export class DepthPanel extends Panel {
  #map = document.getElementById("depth-map");
  #scale = document.getElementById("depth-scale");
  #max = document.getElementById("depth-max");
  /** Colours from 0 m to the `max` of a frame. */
  #colors = new Uint32Array(1);

  constructor(on) {
    super("depth", on);
  }

  begin({ depth }) {
    this.section.querySelector(".scale").classList.toggle("unseen", !depth);
    if (!depth) return;
    this.#colors = Uint32Array.from(depth.colors, (color) => packed(...color));
    fill(this.#scale, [this.#colors.length, 1], (i) => this.#colors[i]);
  }

  lacks() {
    return view.hello && !view.hello.depth ? NO_DEPTH : "";
  }

  needs() {
    return ["depth"];
  }

  draw() {
    const { values, size, scale, max } = view.frame.depth;
    const colors = this.#colors;
    const last = colors.length - 1;
    const step = (scale / max) * last;
    fill(this.#map, size, (i) => (values[i] ? colors[Math.min(Math.round(values[i] * step), last)] : 0));
    lay(this.#map, boxOfModel(view.frame));
    this.#max.textContent = `${max.toFixed(max < 10 ? 1 : 0)} m`;
  }

  read(at) {
    const meters = view.frame.metersAt(at);
    return meters === null ? "no depth here" : `${meters.toFixed(2)} m`;
  }

  describe() {
    const { values, scale } = view.frame.depth;
    let [near, far] = [Infinity, 0];
    for (const value of values) if (value) [near, far] = [Math.min(near, value), Math.max(far, value)];
    const range = far
      ? `from ${(near * scale).toFixed(1)} to ${(far * scale).toFixed(1)} metres`
      : "no depth";
    this.#map.setAttribute("aria-label", `Depth of the image, ${range}`);
  }
}
