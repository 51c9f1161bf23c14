/** Where the images come from, with `pixio_node live`: this page's camera, a file, or the node's folder. */

import { jpeg, StillFeed, VideoFeed } from "./feeds.js";
import { clear, tell } from "./notices.js";
import { pack } from "./protocol.js";

/** Images that were sent and may still come back as frames. */
const MOST_SENT = 8;
const ALSO_FOLDER = "A file or the folder can be shown instead.";

/** What keeps a camera away, by the name of the browser's error. */
const CAMERA_FAILURES = {
  NotAllowedError:
    "The browser may not use the camera. Allow it via the icon next to the address bar, then press My camera.",
  NotFoundError: `No camera was found. Connect one and press My camera. ${ALSO_FOLDER}`,
  NotReadableError:
    "The camera is busy. End the other program or tab that uses the camera, then press My camera.",
  OverconstrainedError: "That camera is gone. Press My camera to take another one.",
  AbortError: "The camera did not start. Press My camera to try again.",
};

export class Sources {
  /** Whether the page sends: neither paused nor hidden. */
  isActive = true;
  /** Images of the feed that were sent. */
  nSent = 0;
  #send;
  #feed = null;
  /** Whether the node has asked for an image that it has not got yet. */
  #isAsked = false;
  #isEncoding = false;
  #maxBytes = Infinity;
  #lastStamp = 0;
  /** @type {Map<string, {canvas: HTMLCanvasElement, captured: number}>} */
  #sent = new Map();
  #buttons = Object.fromEntries(
    ["camera", "file", "folder"].map((kind) => [kind, document.getElementById(`use-${kind}`)]),
  );
  #kind = null;
  #isMine = false;
  /** Does once more what the user chose last. */
  #again = null;
  /** Rises with every choice: a camera that opens after a newer choice is not taken. */
  #choice = 0;

  /** @param {(message: object | Uint8Array) => boolean} send */
  constructor(send) {
    this.#send = send;
    const file = document.getElementById("file");
    const device = document.getElementById("device");
    this.#buttons.camera.addEventListener("click", () => this.useCamera());
    this.#buttons.file.addEventListener("click", () => file.click());
    this.#buttons.folder.addEventListener("click", () => this.useFolder());
    file.addEventListener(
      "change",
      () => (file.files[0] && this.useFile(file.files[0]), (file.value = "")),
    );
    device.addEventListener("change", () => this.useCamera(device.value));
    document.addEventListener("dragover", (event) => this.#dragged(event, true));
    document.addEventListener("dragleave", (event) => this.#dragged(event, false));
    document.addEventListener("drop", (event) => this.#dropped(event));
  }

  /** Takes the first message of a node. A feed that was on goes on. */
  begin({ mode, folder, max_image_bytes }) {
    document.getElementById("sources").hidden = mode !== "live";
    this.#buttons.folder.hidden = !folder;
    this.#buttons.folder.title = folder ?? "";
    this.#maxBytes = max_image_bytes;
    this.#isAsked = false;
    if (this.#feed) this.#send({ type: "source", kind: "page" });
  }

  /** Takes the node's word on who feeds. */
  changed({ kind, mine }) {
    const wasMine = this.#isMine;
    if (this.#feed && this.#isMine && !mine) {
      this.#close();
      const back = { label: "Feed again", run: () => this.#again?.() };
      tell(
        "source",
        "warning",
        kind === "page" ? "Another page feeds the node now." : "The folder feeds now.",
        back,
      );
    }
    this.#isMine = mine;
    if (kind === "page" && !mine && !wasMine) tell("source", "info", "Another page feeds the node.");
    if (kind === "none") tell("source", "info", "Nothing feeds the node. Choose a camera or a file.");
    this.#press(mine ? this.#kind : kind === "folder" ? "folder" : null);
  }
  /** The node takes another image. */
  next() {
    this.#isAsked = true;
    this.pump();
  }

  /** The image that was sent with this stamp, if it is still known; older ones are forgotten. */
  recall(key) {
    const found = this.#sent.get(key);
    if (!found) return undefined;
    for (const older of this.#sent.keys()) {
      if (older === key) break;
      this.#sent.delete(older);
    }
    return found;
  }

  /** Frames of the feed that were not sent, as newer ones came. */
  get nLeftOut() {
    return this.#feed ? Math.max(0, this.#feed.nShown - this.nSent) : 0;
  }

  async useCamera(deviceId) {
    const choice = ++this.#choice;
    if (!navigator.mediaDevices?.getUserMedia) {
      const tunnel = `ssh -L ${location.port}:127.0.0.1:${location.port} ROBOT`;
      const way = `On another machine use ${tunnel} and http://127.0.0.1:${location.port} with the token.`;
      const text = window.isSecureContext
        ? `This browser gives pages no camera. ${ALSO_FOLDER}`
        : `A browser gives its camera only to http://localhost and http://127.0.0.1. ${way}`;
      return tell("source", "error", text);
    }
    const exact = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "environment" };
    const video = { ...exact, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video });
    } catch (err) {
      return tell("source", "error", CAMERA_FAILURES[err.name] ?? `The camera failed: ${err.message}`);
    }
    if (choice !== this.#choice) return stream.getTracks().forEach((track) => track.stop());
    await this.#open(new VideoFeed(() => this.pump()), stream, "camera", () => this.useCamera(deviceId));
    const [track] = stream.getVideoTracks();
    track.addEventListener("ended", () => {
      tell("source", "error", "The camera has stopped. Connect it again, then press My camera.");
    });
    await this.#listDevices(track);
  }

  /** @param {File} file a video or an image */
  async useFile(file) {
    this.#choice++;
    const isImage = file.type.startsWith("image/");
    const feed = isImage ? new StillFeed(() => this.pump()) : new VideoFeed(() => this.pump());
    try {
      await this.#open(feed, file, "file", () => this.useFile(file));
    } catch {
      feed.close();
      if (this.#feed === feed) this.#feed = null;
      this.#press(null);
      // What was closed for the file feeds no more: let the folder play.
      this.#send({ type: "source", kind: "folder" });
      const kinds = isImage ? "JPEG, PNG or WebP" : "MP4 or WebM";
      tell("source", "error", `The browser cannot read ${file.name}. Try ${kinds}.`);
    }
  }

  useFolder() {
    this.#choice++;
    this.#close();
    clear("source");
    this.#send({ type: "source", kind: "folder" });
  }

  /** Sends an image if the node waits for one and the feed has a new one. */
  async pump() {
    if (!this.#isAsked || this.#isEncoding || !this.isActive) return;
    const feed = this.#feed;
    const shot = feed?.take();
    if (!shot) return;
    this.#isEncoding = true;
    try {
      const bytes = await jpeg(shot.canvas);
      if (feed === this.#feed) this.#sendImage(shot, bytes);
    } catch (err) {
      tell("source", "error", `${err.message}.`);
    } finally {
      this.#isEncoding = false;
    }
  }

  #sendImage({ canvas, captured }, bytes) {
    if (bytes.byteLength > this.#maxBytes) {
      return tell("source", "error", `An image of ${bytes.byteLength} bytes is over what the node takes.`);
    }
    // Stamps rise, so that each names one image.
    const millis = Math.max(Date.now() - (performance.now() - captured), this.#lastStamp + 0.001);
    this.#lastStamp = millis;
    const stamp = [Math.floor(millis / 1000), Math.round((millis % 1000) * 1000) * 1000];
    if (stamp[1] >= 1e9) [stamp[0], stamp[1]] = [stamp[0] + 1, 0];
    this.#isAsked = false;
    if (!this.#send(pack({ stamp }, bytes))) return;
    this.nSent++;
    this.#sent.set(stamp.join("."), { canvas, captured });
    if (this.#sent.size > MOST_SENT) this.#sent.delete(this.#sent.keys().next().value);
  }

  async #open(feed, source, kind, again) {
    this.#close();
    this.#feed = feed;
    this.#kind = kind;
    this.#again = again;
    await feed.play(source);
    clear("source");
    this.#send({ type: "source", kind: "page" });
  }

  #close() {
    this.#feed?.close();
    this.#feed = null;
    this.#isMine = false;
    this.#isAsked = false;
    this.nSent = 0;
  }

  #press(kind) {
    for (const [name, button] of Object.entries(this.#buttons))
      button.setAttribute("aria-pressed", name === kind);
  }

  async #listDevices(track) {
    const devices = (await navigator.mediaDevices.enumerateDevices()).filter(
      ({ kind }) => kind === "videoinput",
    );
    const options = devices.map(
      ({ deviceId, label }, i) => new Option(label || `Camera ${i + 1}`, deviceId),
    );
    const device = document.getElementById("device");
    device.replaceChildren(...options);
    device.value = track.getSettings().deviceId ?? "";
    document.getElementById("device-choice").hidden = devices.length < 2;
  }

  #dragged(event, isOver) {
    event.preventDefault();
    document.body.classList.toggle("dropping", isOver && !document.getElementById("sources").hidden);
  }

  #dropped(event) {
    this.#dragged(event, false);
    const [file] = event.dataTransfer.files;
    if (file && !document.getElementById("sources").hidden) this.useFile(file);
  }
}
