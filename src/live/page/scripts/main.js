/** The live page: the node's messages go to the panels, what the user does goes to the node. */

import { Connection } from "./connection.js";
import { Figures } from "./figures.js";
import { Frame } from "./frame.js";
import { CameraPanel, DepthPanel, FeaturesPanel } from "./maps.js";
import { clear, tell } from "./notices.js";
import { PointsPanel } from "./points.js";
import { VERSION } from "./protocol.js";
import { SimilarityPanel } from "./similarity.js";
import { Sources } from "./sources.js";
import { Strokes } from "./strokes.js";
import { Teaching } from "./teaching.js";
import { view } from "./view.js";

// The cookie has the token from here on; the address bar need not show it.
history.replaceState(null, "", location.pathname);

const pauseButton = document.getElementById("pause");
const cameraIndex = document.getElementById("camera-index");
const on = { changed: look, point, pin, unpin, reset: () => connection.send({ type: "reset_basis" }) };
const camera = new CameraPanel({ ...on, pin: choose });
const features = new FeaturesPanel(on);
const depth = new DepthPanel(on);
const panels = [camera, features, depth, new PointsPanel(on), new SimilarityPanel(on)];
const figures = new Figures();
const sources = new Sources((message) => connection.send(message));
const teaching = new Teaching({
  send: (message) => connection.send(message),
  named: () => camera.stage.focus({ preventScroll: true }),
  changed() {
    strokes.isOn = teaching.isOn;
    camera.explainKeys(teaching.isOn ? "teaches" : "pins");
  },
});
const strokes = new Strokes(camera, (frame, patches) => teaching.teach(frame, patches));
const connection = new Connection({ text: hear, frame: show, lost, stranger, gone });

let isPaused = false;
/** The panels that the node was asked for last, as JSON. */
let asked = "";
/** Frames are drawn one after the other. */
let drawing = Promise.resolve();

const heard = {
  hello(hello) {
    if (hello.version !== VERSION) {
      const way = { label: "Reload", run: () => location.reload() };
      return tell("version", "error", "The node speaks another version of the page's protocol.", way);
    }
    view.hello = hello;
    view.classes = hello.classes ?? (hello.teaching ? [] : null);
    clear("connection");
    figures.begin(hello);
    camera.begin();
    teaching.begin(hello);
    depth.begin(hello);
    listCameras(hello.cameras);
    sources.begin(hello);
    asked = "";
    look();
    if (view.pin) query();
  },
  source(source) {
    figures.forget();
    sources.changed(source);
  },
  teaching(taught) {
    view.classes = taught.classes;
    camera.recolor();
    teaching.changed(taught);
  },
  next() {
    sources.next();
  },
  status(status) {
    figures.report(status, sources.nLeftOut);
    if (status.is_enabled) clear("enabled");
    features.setBasis(status.basis);
    if (status.lacks) tell("lacks", "warning", status.lacks);
    else clear("lacks");
    for (const panel of panels) if (panel.isShown && panel.empty.hidden) panel.describe();
  },
  notice({ level, text, teaching: isAnswer }) {
    if (!isAnswer || !teaching.answered(level, text)) tell(`node: ${text}`, level, text);
  },
};

function hear(message) {
  heard[message.type]?.(message);
}

function show(message) {
  drawing = drawing
    .then(() => draw(message))
    .catch((err) => {
      console.error(err);
      tell("drawing", "error", `A frame could not be drawn: ${err.message}`);
    });
}

async function draw(message) {
  try {
    const frame = new Frame(message);
    // One of the camera that was shown before may still be on its way.
    if (frame.camera !== Math.max(0, cameraIndex.selectedIndex)) return;
    const own = sources.recall(frame.key);
    await frame.findImage(own?.canvas);
    await strokes.ended();
    // A frame that was on its way when the user paused is the last that is drawn.
    view.frame?.close();
    view.frame = frame;
    document.documentElement.style.setProperty("--aspect", frame.size[0] / frame.size[1]);
    for (const panel of panels) panel.update();
    strokes.point();
    figures.drawn(own?.captured);
  } finally {
    connection.send({ type: "drawn" });
  }
}

/** Asks for what is shown from now on. */
function look() {
  const isActive = !isPaused && !document.hidden;
  const shown = isActive ? panels.filter((panel) => panel.isShown) : [];
  const names = [...new Set(shown.flatMap((panel) => panel.needs()))].sort();
  const message = {
    type: "look",
    camera: cameraIndex.selectedIndex < 0 ? 0 : cameraIndex.selectedIndex,
    panels: names,
  };
  // Images that nobody would look at are not sent.
  sources.isActive = names.length > 0;
  sources.pump();
  const json = JSON.stringify(message);
  if (json !== asked && view.hello && connection.send(message)) asked = json;
  if (!isPaused) for (const panel of panels) panel.update();
}

function point(at) {
  view.cursor = at;
  for (const panel of panels) panel.point();
  strokes.point();
}

/** A click or a key on the camera's image: a place to compare with, or to teach. */
function choose(event) {
  if (!teaching.isOn) pin();
  // Clicks are strokes of one patch.
  else if (event.type === "keydown") teaching.teachCursor();
}

function pin() {
  if (!view.cursor) return;
  view.pin = view.cursor;
  query();
  look();
}

function unpin() {
  if (!view.pin) return;
  view.pin = null;
  look();
}

function query() {
  const [x, y] = view.pin;
  connection.send({ type: "query", x, y });
}

function pause() {
  isPaused = !isPaused;
  pauseButton.textContent = isPaused ? "Resume" : "Pause";
  look();
}

function lost({ reason, isStopping }) {
  figures.end();
  if (isStopping)
    tell("connection", "error", "The node has stopped. Start it again and open the address that it prints.");
  else tell("connection", "warning", `The connection is lost${reason ? `: ${reason}` : "."} Trying again.`);
}

function stranger() {
  const text =
    "The node was restarted and has a new token: open the address that the node printed.";
  tell("connection", "error", text);
}

function gone() {
  tell(
    "connection",
    "error",
    "The node does not answer. If it was stopped, start it again and open the address that it prints.",
  );
}

function listCameras(names) {
  const index = Math.max(0, cameraIndex.selectedIndex);
  cameraIndex.replaceChildren(...names.map((name) => new Option(name)));
  cameraIndex.selectedIndex = Math.min(index, names.length - 1);
  document.getElementById("camera-choice").hidden = names.length < 2;
}

/** The panel that a key means: the one on full screen, under the pointer, or with the focus. */
function meantPanel() {
  const is = (selector) => panels.find(({ section }) => section.matches(selector));
  return is(":fullscreen") ?? is(":hover") ?? is(":focus-within");
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const isAt = (selector) => event.target.closest?.(selector);
  if (isAt("dialog")) return;
  if (event.key === "Escape") strokes.cancel() || unpin();
  else if (isAt("select, [type=text]")) return;
  else if (event.key === " " && !isAt("input, button")) (event.preventDefault(), pause());
  else if (event.key === "f") meantPanel()?.enlarge();
  else if (event.key === "s") meantPanel()?.save();
  else if (!teaching.key(event.key) && !isAt("input")) panels[Number(event.key) - 1]?.toggle();
}

pauseButton.addEventListener("click", pause);
cameraIndex.addEventListener("change", () => {
  view.frame?.close();
  view.frame = view.pin = null;
  look();
});
document.addEventListener("visibilitychange", look);
document.addEventListener("keydown", key);
