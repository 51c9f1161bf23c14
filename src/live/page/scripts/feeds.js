/** What this page can feed the node with: a camera, a video or an image. Each tells of what is new. */

/** Images are sent at this longest side at most: the model input is smaller. */
const LONGEST_SIDE = 1280;
const JPEG_QUALITY = 0.9;
/** How often a single image is sent: the principal components are estimated from several. */
const STILL_MILLIS = 200;

/** A camera or a video, by way of a video element. */
export class VideoFeed {
  /** Frames that the source has shown. */
  nShown = 0;
  #video;
  #url = null;
  /** When the frame was captured that nobody has taken yet, in the time of `performance.now()`; or null. */
  #fresh = null;
  #isOpen = true;

  /** @param {() => void} onFresh a frame can be taken */
  constructor(onFresh) {
    this.#video = Object.assign(document.createElement("video"), {
      muted: true,
      playsInline: true,
      loop: true,
    });
    const next = (now, { captureTime, presentedFrames } = {}) => {
      if (!this.#isOpen) return;
      this.#fresh = captureTime ?? now;
      this.nShown = presentedFrames ?? this.nShown + 1;
      this.#await(next);
      onFresh();
    };
    this.#await(next);
  }

  /**
   * @param {MediaStream | Blob} source
   * @throws {DOMException} the browser cannot play it
   */
  async play(source) {
    if (source instanceof Blob) this.#video.src = this.#url = URL.createObjectURL(source);
    else this.#video.srcObject = source;
    await this.#video.play();
  }

  /** The newest frame, scaled, with the time of its capture; null where it was taken already. */
  take() {
    if (this.#fresh === null || !this.#video.videoWidth) return null;
    const captured = this.#fresh;
    this.#fresh = null;
    return { ...scaled(this.#video, this.#video.videoWidth, this.#video.videoHeight), captured };
  }

  close() {
    this.#isOpen = false;
    this.#video.srcObject?.getTracks().forEach((track) => track.stop());
    this.#video.pause();
    this.#video.removeAttribute("src");
    this.#video.srcObject = null;
    if (this.#url) URL.revokeObjectURL(this.#url);
  }

  #await(next) {
    if (this.#video.requestVideoFrameCallback) return this.#video.requestVideoFrameCallback(next);
    // Browsers without that callback show by the time of the video whether there is a new frame.
    let last = this.#video.currentTime;
    const look = (now) => {
      if (!this.#isOpen) return;
      if (this.#video.currentTime === last) return requestAnimationFrame(look);
      next(now);
    };
    requestAnimationFrame(look);
  }
}

/** One image, again and again. */
export class StillFeed {
  nShown = 0;
  #bitmap = null;
  #timer;
  #isFresh = false;

  constructor(onFresh) {
    this.#timer = setInterval(() => {
      if (!this.#bitmap) return;
      if (!this.#isFresh) this.nShown++;
      this.#isFresh = true;
      onFresh();
    }, STILL_MILLIS);
  }

  /** @param {Blob} source */
  async play(source) {
    this.#bitmap = await createImageBitmap(source);
  }

  take() {
    if (!this.#isFresh) return null;
    this.#isFresh = false;
    return {
      ...scaled(this.#bitmap, this.#bitmap.width, this.#bitmap.height),
      captured: performance.now(),
    };
  }

  close() {
    clearInterval(this.#timer);
    this.#bitmap?.close();
  }
}

/** The image at a size that is worth sending. */
function scaled(source, width, height) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d", { alpha: false }).drawImage(source, 0, 0, canvas.width, canvas.height);
  return { canvas };
}

/**
 * The canvas as the bytes of a JPEG file.
 * @param {HTMLCanvasElement} canvas
 * @returns {Promise<ArrayBuffer>}
 */
export async function jpeg(canvas) {
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", JPEG_QUALITY));
  if (!blob) throw new Error("The browser could not write a JPEG file");
  return blob.arrayBuffer();
}
