/** What all panels look at: the node, its newest frame, and the place that the user points at. */

import { mapPixel } from "./geometry.js";

export const view = {
  /** The first message of the node. */
  hello: null,
  /** What labels mean, by their numbers: the classes of a head, or those taught so far; null without any.
   * @type {{name: string, color: number[]}[] | null} */
  classes: null,
  /** @type {import("./frame.js").Frame | null} */
  frame: null,
  /** A pixel of the camera under the pointer or the keys, or null. @type {[number, number] | null} */
  cursor: null,
  /** The pixel whose patch is pinned, or null. @type {[number, number] | null} */
  pin: null,
};

/** The patch at the cursor: `[x, y]` in the grid; null where there is none. */
export function patchAt(point) {
  return view.frame && point && mapPixel(view.frame, view.frame.grid, point);
}
