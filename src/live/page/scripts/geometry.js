/**
 * Where things lie: the camera's image, the model input, and maps of the model input at other resolutions.
 * Whole numbers are centres of pixels, so an image of width w reaches from -0.5 to w - 0.5.
 */

/** @typedef {[number, number]} Point */
/** @typedef {[number, number]} Size */
/** Shares of the camera's image. @typedef {{left: number, top: number, width: number, height: number}} Box */

/** The field of view that is assumed for a camera without calibration, from the left to the right border. */
export const ASSUMED_VIEW_DEGREES = 60;

/** The whole image of the camera. */
export const WHOLE = { left: 0, top: 0, width: 1, height: 1 };

/**
 * Pixel of the model input for a pixel of the camera. Images are scaled and shifted, never turned.
 * @param {Point} at
 * @returns {Point}
 */
export function modelFromCamera(frame, [x, y]) {
  const [a, , c, , e, f] = frame.model_from_camera;
  return [a * x + c, e * y + f];
}

/** @returns {Point} */
export function cameraFromModel(frame, [x, y]) {
  const [a, , c, , e, f] = frame.model_from_camera;
  return [(x - c) / a, (y - f) / e];
}

/**
 * Where the model input lies in the camera's image: all of it when stretched, more with the borders of a
 * letterbox, less when cropped.
 * @returns {Box}
 */
export function boxOfModel(frame) {
  const [left, top] = cameraFromModel(frame, [-0.5, -0.5]);
  const [right, bottom] = cameraFromModel(frame, [frame.model[0] - 0.5, frame.model[1] - 0.5]);
  const [width, height] = frame.size;
  return {
    left: (left + 0.5) / width,
    top: (top + 0.5) / height,
    width: (right - left) / width,
    height: (bottom - top) / height,
  };
}

/**
 * The pixel of a map of the model input (or the patch, for a map of the size of the grid) at a pixel of the
 * camera; null where the model did not look.
 * @param {Size} size of the map
 * @param {Point} at
 * @returns {Point | null}
 */
export function mapPixel(frame, size, at) {
  const model = modelFromCamera(frame, at);
  const pixel = model.map((x, axis) => Math.floor(((x + 0.5) * size[axis]) / frame.model[axis]));
  return pixel.every((x, axis) => x >= 0 && x < size[axis]) ? pixel : null;
}

/**
 * The camera's pixel in the middle of a patch.
 * @param {Point} patch
 * @returns {Point}
 */
export function middleOfPatch(frame, patch) {
  return cameraFromModel(
    frame,
    patch.map((x, axis) => ((x + 0.5) * frame.model[axis]) / frame.grid[axis] - 0.5),
  );
}

/**
 * `[fx, fy, cx, cy]` of the model input: those of the calibration, or those of the assumed field of view.
 * @returns {[number, number, number, number]}
 */
export function intrinsics(frame) {
  if (frame.intrinsics) return frame.intrinsics;
  const [a, , c, , e, f] = frame.model_from_camera;
  const [width, height] = frame.size;
  const focal = width / 2 / Math.tan((ASSUMED_VIEW_DEGREES * Math.PI) / 360);
  return [a * focal, e * focal, (a * (width - 1)) / 2 + c, (e * (height - 1)) / 2 + f];
}
