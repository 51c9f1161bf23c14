/** A frame as it came: the geometry of its header, and its maps decoded when they are first asked for. */

import { boxOfModel, mapPixel, WHOLE } from "./geometry.js";
import { floatsOfHalves, unpack } from "./protocol.js";

export class Frame {
  /** What shows the scene, at `box` of the camera's image; null until it is decoded, or when none came. */
  image = null;
  box = WHOLE;
  #decoded = new Map();

  /** @param {ArrayBuffer} message */
  constructor(message) {
    const { head, blobs } = unpack(message);
    Object.assign(this, head);
    this.blobs = blobs;
    this.key = this.stamp.join(".");
  }

  has(name) {
    return this.blobs.has(name);
  }

  /**
   * Takes the image that this page has sent, or decodes the one that the node has sent.
   * @param {CanvasImageSource | undefined} own
   */
  async findImage(own) {
    if (own) {
      this.image = own;
    } else if (this.has("image")) {
      this.image = await createImageBitmap(
        new Blob([this.blobs.get("image").bytes], { type: "image/jpeg" }),
      );
      this.box = boxOfModel(this);
    }
  }

  /** The frame gives back what it holds outside of JavaScript's memory. */
  close() {
    this.image?.close?.();
    this.image = null;
  }

  /** Bytes of RGB, three for each pixel. */
  get pca() {
    return this.#map("pca", (bytes) => new Uint8Array(bytes));
  }

  /** Multiples of `scale`, 0 where there is no depth. */
  get depth() {
    return this.#map("depth", (bytes) => new Uint16Array(bytes));
  }

  get labels() {
    return this.#map("labels", (bytes) => new Uint8Array(bytes));
  }

  /** Patch tokens of length 1, one after the other. */
  get directions() {
    return this.#map("tokens", (bytes, { channels }) => normalized(floatsOfHalves(bytes), channels));
  }

  /** The node's own cosines with the patch that was queried. */
  get similarity() {
    return this.#map("similarity", (bytes) => new Float32Array(bytes));
  }

  /**
   * Metres at a pixel of the camera; null where there are none.
   * @param {import("./geometry.js").Point} at
   */
  metersAt(at) {
    const { values, size, scale } = this.depth;
    const pixel = mapPixel(this, size, at);
    const value = pixel && values[pixel[1] * size[0] + pixel[0]];
    return value ? value * scale : null;
  }

  /** The label at a pixel of the camera; null where there is none. */
  labelAt(at) {
    const { values, size } = this.labels;
    const pixel = mapPixel(this, size, at);
    const label = pixel && values[pixel[1] * size[0] + pixel[0]];
    return pixel && label !== 255 ? label : null;
  }

  #map(name, decode) {
    if (!this.#decoded.has(name)) {
      const blob = this.blobs.get(name);
      this.#decoded.set(name, blob && { ...blob, values: decode(blob.bytes, blob) });
    }
    return this.#decoded.get(name);
  }
}

/** Rows of `channels` numbers, divided by their length. */
function normalized(values, channels) {
  for (let from = 0; from < values.length; from += channels) {
    const row = values.subarray(from, from + channels);
    const length = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0)) || 1;
    for (let i = 0; i < channels; i++) row[i] /= length;
  }
  return values;
}

/**
 * The cosine of one patch with every patch.
 * @param {{values: Float32Array, channels: number}} directions
 * @param {number} index of the patch
 */
export function cosines({ values, channels }, index) {
  const one = values.subarray(index * channels, (index + 1) * channels);
  return Float32Array.from({ length: values.length / channels }, (_, patch) => {
    let sum = 0;
    for (let i = 0, from = patch * channels; i < channels; i++) sum += one[i] * values[from + i];
    return sum;
  });
}
