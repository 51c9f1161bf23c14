/** The panel of patches that are like one: computed here while the pointer moves, by the node once pinned. */

import { boxOfModel } from "./geometry.js";
import { cosines } from "./frame.js";
import { drawImage, fill, lay, packed, Panel } from "./panel.js";
import { patchAt, view } from "./view.js";

/** Colours from unlike to alike. */
const STOPS = [
  [18, 22, 64],
  [124, 34, 116],
  [226, 84, 62],
  [255, 236, 150],
];
const COLORS = Uint32Array.from({ length: 256 }, (_, i) => {
  const at = (i / 255) * (STOPS.length - 1);
  const from = Math.min(Math.floor(at), STOPS.length - 2);
  return packed(
    ...STOPS[from].map((x, channel) => Math.round(x + (STOPS[from + 1][channel] - x) * (at - from))),
  );
});

export class SimilarityPanel extends Panel {
  #image = this.section.querySelector(".image");
  #map = document.getElementById("similarity-map");
  #text = document.getElementById("compared");
  #hint = this.#text.textContent;
  #unpin = document.getElementById("unpin");
  /** The cosines that are shown, for the reading. */
  #cosines = null;

  constructor(on) {
    super("similarity", on);
    this.#unpin.addEventListener("click", on.unpin);
  }

  needs() {
    return ["image", view.pin ? "similarity" : "tokens"];
  }

  canDraw() {
    return view.frame.image !== null;
  }

  draw() {
    drawImage(this.#image, view.frame);
    this.#unpin.disabled = view.pin === null;
  }

  /** The patches change with the cursor, not only with the frame. */
  point() {
    this.#cosines = this.empty.hidden && view.frame ? this.#compare() : null;
    super.point();
    this.#map.hidden = !this.#cosines;
    const text = this.#cosines ? this.#drawMap() : this.#hint;
    if (this.#text.textContent !== text) this.#text.textContent = text;
  }

  #compare() {
    const { frame, pin, cursor } = view;
    if (pin) return frame.similarity?.values ?? null;
    const patch = patchAt(cursor);
    return patch && frame.directions
      ? cosines(frame.directions, patch[1] * frame.grid[0] + patch[0])
      : null;
  }

  /** Colours the patches from the least alike to the most, and says what those are. */
  #drawMap() {
    const { frame, pin, cursor } = view;
    let [least, most] = [Infinity, -Infinity];
    for (const cosine of this.#cosines) [least, most] = [Math.min(least, cosine), Math.max(most, cosine)];
    const step = 255 / (most - least || 1);
    fill(this.#map, frame.grid, (i) => COLORS[Math.round((this.#cosines[i] - least) * step)]);
    lay(this.#map, boxOfModel(frame));
    const patch = patchAt(pin ?? cursor);
    return (
      `${pin ? "Pinned patch" : "Patch"} ${patch?.join(", ")}: cosines from ${least.toFixed(2)} (dark) to ` +
      `${most.toFixed(2)} (bright)`
    );
  }

  read(at) {
    const patch = patchAt(at);
    const cosine = patch && this.#cosines?.[patch[1] * view.frame.grid[0] + patch[0]];
    return view.pin && cosine !== undefined && cosine !== null ? `cosine ${cosine.toFixed(2)}` : "";
  }

  describe() {
    this.#image.setAttribute("aria-label", `The camera's image, ${view.frame.size.join(" by ")} pixels`);
    this.#map.setAttribute("aria-label", this.#cosines ? this.#text.textContent : "No patch is compared");
  }
}
