/** The classes that can be taught, as a group of radio buttons. */

/** Digits choose the first classes. */
const N_KEYS = 10;
const OTHER = "other";
const ABOUT_OTHER =
  "What is none of the other classes: teach some of it, so that it is not taken for one of them";

export class Palette {
  #group = document.getElementById("palette");
  /** Entries by the class's name. */
  #entries = new Map();

  /** @param {(name: string) => void} choose the user chose a class */
  constructor(choose) {
    this.#group.addEventListener("change", ({ target }) => choose(target.value));
  }

  /**
   * Shows the classes in this order. Entries stay the same elements, so that the focus stays where it is.
   * @param {{name: string, color: number[] | null, exemplars: number}[]} classes
   * @param {string | null} chosen
   */
  show(classes, chosen) {
    const entries = new Map(classes.map(({ name }) => [name, this.#entries.get(name) ?? made(name)]));
    for (const [name, { label }] of this.#entries) if (!entries.has(name)) label.remove();
    this.#entries = entries;
    classes.forEach(({ name, color, exemplars }, number) => {
      const { label, radio, swatch, count } = entries.get(name);
      radio.checked = name === chosen;
      radio.setAttribute("aria-label", `${name}, ${plural(exemplars)}`);
      label.title = [name === OTHER ? ABOUT_OTHER : name, plural(exemplars), keyOf(number)]
        .filter(Boolean)
        .join(" · ");
      swatch.style.background = color ? `rgb(${color})` : "none";
      count.textContent = exemplars;
      if (this.#group.children[number] !== label) {
        this.#group.insertBefore(label, this.#group.children[number] ?? null);
      }
    });
  }
}

/** A number of exemplars in words. */
export function plural(n) {
  return `${n} exemplar${n === 1 ? "" : "s"}`;
}

function keyOf(number) {
  return number < N_KEYS ? `key ${number}` : "";
}

function made(name) {
  const label = document.createElement("label");
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "class", value: name });
  const swatch = document.createElement("i");
  const text = Object.assign(document.createElement("span"), { className: "name", textContent: name });
  const count = Object.assign(document.createElement("span"), { className: "count" });
  label.append(radio, swatch, text, count);
  return { label, radio, swatch, count };
}
