/** Teaching: what the user points at becomes exemplars of a class, with a node that is taught. */

import { agreed } from "./confirm.js";
import { middleOfPatch } from "./geometry.js";
import { speak, tell } from "./notices.js";
import { Palette, plural } from "./palette.js";
import { patchAt, view } from "./view.js";

/** Pixels of one message: text messages have a largest size. */
const MOST_PIXELS = 150;
/** What is at most taken of a patch's side outside of the image, pixels. */
const BORDER = 0.49;
const NOTHING = { classes: [], has_head: false, can_undo: false, heads: [] };
const $ = (id) => document.getElementById(id);

export class Teaching {
  /** Whether clicks teach. */
  isOn = false;
  #on;
  #isPossible = false;
  /** How teaching stands, as the node said last. */
  #taught = NOTHING;
  /** Classes that the user has named and the node does not know yet. @type {string[]} */
  #named = [];
  /** The node's last answer. */
  #answer = "";
  /** Name of the class that clicks teach. @type {string | null} */
  #chosen = null;
  #palette = new Palette((name) => this.#choose(name));

  /**
   * @param {object} on
   * @param {(message: object) => boolean} on.send whether there was a connection
   * @param {() => void} on.named a class was named and is to be pointed at
   * @param {() => void} on.changed clicks teach from now on, or do not any more
   */
  constructor(on) {
    this.#on = on;
    const forms = {
      "add-class": () => this.#add($("class-name")),
      "save-head": () => this.#save($("head-name").value.trim()),
      "load-head": () => this.#load($("heads").value),
    };
    for (const [id, run] of Object.entries(forms)) {
      $(id).addEventListener("submit", (event) => (event.preventDefault(), run()));
    }
    $("point-mode").addEventListener("click", () => this.#switch(false));
    $("teach-mode").addEventListener("click", () => this.#switch(true));
    $("undo").addEventListener("click", () => this.#undo());
    $("forget-class").addEventListener("click", () => this.#forgetClass());
    $("forget-all").addEventListener("click", () => this.#forgetAll());
  }

  /** Takes the first message of a node. What was taught comes with the node's next. */
  begin({ teaching }) {
    this.#isPossible = teaching === true;
    this.#taught = NOTHING;
    this.#answer = "";
    $("teaching").hidden = $("teaching-keys").hidden = !this.#isPossible;
    document.body.classList.toggle("teachable", this.#isPossible);
    if (!this.#isPossible) this.#switch(false);
  }

  /** Takes how teaching stands. */
  changed(taught) {
    this.#taught = taught;
    this.#named = this.#named.filter((name) => taught.classes.every((known) => known.name !== name));
    $("heads").replaceChildren(...keeping($("heads").value, taught.heads));
    $("load-head").hidden = taught.heads.length === 0;
    this.#show();
  }

  /**
   * Takes an answer of the node to a request from here.
   * @returns {boolean} whether it is shown here: what is fine need not be told above all panels
   */
  answered(level, text) {
    this.#answer = level === "info" ? text : "";
    this.#show();
    return level === "info";
  }

  /**
   * Teaches the chosen class.
   * @param {import("./frame.js").Frame} frame that the user sees
   * @param {import("./geometry.js").Point[]} patches of its grid
   */
  teach(frame, patches) {
    const name = this.#chosen;
    if (name === null) return tell("teaching", "info", "Add a class or choose one, and click again.");
    if (!patches.length) return tell("teaching", "info", "The model does not look at this place.");
    for (let from = 0; from < patches.length; from += MOST_PIXELS) {
      const pixels = patches.slice(from, from + MOST_PIXELS).map((patch) => pixelIn(frame, patch));
      this.#send({ type: "teach", frame: frame.frame, class: name, pixels });
    }
    speak(`${plural(patches.length)} of ${name}`);
  }

  /** Teaches the patch under the cursor. */
  teachCursor() {
    const patch = patchAt(view.cursor);
    if (patch) this.teach(view.frame, [patch]);
  }

  /** Does what a key stands for. @returns {boolean} whether it stands for anything */
  key(key) {
    if (!this.#isPossible) return false;
    if (key === "u") this.#undo();
    else if (key === "t") this.#switch(!this.isOn);
    else if (this.isOn && /^\d$/.test(key)) this.#choose(this.#classes()[Number(key)]?.name);
    else return false;
    return true;
  }

  /** The node's classes by their numbers, and those that only this page knows. */
  #classes() {
    const named = this.#named.map((name) => ({ name, color: null, exemplars: 0 }));
    return [...this.#taught.classes, ...named];
  }

  #nExemplars() {
    return this.#taught.classes.reduce((sum, { exemplars }) => sum + exemplars, 0);
  }

  #show() {
    const classes = this.#classes();
    const chosen = classes.find(({ name }) => name === this.#chosen);
    if (!chosen) this.#chosen = null;
    this.#palette.show(classes, this.#chosen);
    const n = this.#nExemplars();
    const { fit_ms } = this.#taught;
    const fit = fit_ms === undefined ? "" : `, learnt in ${fit_ms.toFixed(fit_ms < 10 ? 1 : 0)} ms`;
    $("taught").textContent = n ? `${plural(n)}${fit}` : "";
    $("undo").disabled = !this.#taught.can_undo;
    $("forget-all").disabled = n === 0;
    $("forget-class").disabled = !chosen || (chosen.exemplars === 0 && chosen.color !== null);
    $("save-head").querySelector("button").disabled = !this.#taught.has_head;
    const text = this.#nextStep();
    if ($("next-step").textContent !== text) $("next-step").textContent = text;
  }

  /** What leads to labels, as long as there are none; then what came of the last request. */
  #nextStep() {
    if (this.#taught.has_head) return this.#answer;
    if (this.#nExemplars()) return "Point at a second class, or at other: labels begin with two classes.";
    return "Name a class and click on it in the image. Then do the same with a second class, or with other.";
  }

  #switch(isOn) {
    this.isOn = isOn;
    $("teach-mode").setAttribute("aria-pressed", isOn);
    $("point-mode").setAttribute("aria-pressed", !isOn);
    this.#on.changed();
  }

  /** Who chooses a class wants to teach it. */
  #choose(name) {
    if (name === undefined) return;
    this.#chosen = name;
    this.#show();
    this.#switch(true);
    speak(`Clicks teach ${name}`);
  }

  #add(field) {
    const name = field.value.trim();
    if (!name) return;
    field.value = "";
    if (this.#classes().every((known) => known.name !== name)) this.#named.push(name);
    this.#choose(name);
    // What comes next is a click, or a key for the image and not for the field.
    this.#on.named();
  }

  #undo() {
    this.#send({ type: "undo" });
  }

  async #forgetClass() {
    const { name, color, exemplars } = this.#classes().find(({ name }) => name === this.#chosen) ?? {};
    if (name === undefined) return;
    if (color === null) {
      this.#named = this.#named.filter((named) => named !== name);
      return this.#show();
    }
    if (await agreed(`Forget ${plural(exemplars)} of ${name}?`, "Forget")) {
      this.#send({ type: "forget", class: name });
    }
  }

  async #forgetAll() {
    if (await agreed(`Forget ${plural(this.#nExemplars())} of all classes?`, "Forget all")) {
      this.#send({ type: "forget", class: "" });
    }
  }

  async #save(name) {
    const isThere = this.#taught.heads.includes(name);
    if (isThere && !(await agreed(`Replace the saved head ${name}?`, "Replace"))) return;
    this.#send({ type: "save_head", name });
  }

  async #load(name) {
    const n = this.#nExemplars();
    if (n && !(await agreed(`Go on with the head ${name} instead of ${plural(n)}?`, "Load"))) return;
    this.#send({ type: "load_head", name });
  }

  #send(message) {
    if (this.#on.send(message)) return;
    tell("teaching", "warning", "There is no connection to the node: it has not heard this.");
  }
}

/** Options of these names, the same one chosen as before. */
function keeping(chosen, names) {
  return names.map((name) => new Option(name, name, false, name === chosen));
}

/** The middle of a patch, or what is next to it where the image ends within the patch. */
function pixelIn(frame, patch) {
  return middleOfPatch(frame, patch).map((x, axis) => {
    const inside = Math.min(Math.max(x, -BORDER), frame.size[axis] - 1 + BORDER);
    return Math.round(inside * 100) / 100;
  });
}
