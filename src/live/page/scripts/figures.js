/** The bar and the model's card: what the node reports, and what this page measures. */

import { tell } from "./notices.js";

/** Times are of so many last frames. */
const N_TIMES = 60;
const RATE_MILLIS = 3000;
/** Stages in the order in which a frame goes through them, and what each is. */
const STAGES = {
  fit: "decoding and resizing the image",
  wait: "waiting for the model",
  forward: "the model",
  heads: "depth, segmentation and components",
  publish: "encoding and sending",
  total: "from the receipt to the result",
  age: "from the stamp of the image to the result",
};
const COUNTS = {
  received: "images that the node got",
  published: "frames that came out",
  displaced: "images that a newer one displaced",
  too_old: "images that were too old",
  refused: "images that could not be read: the node's log says why",
  unwanted: "images that nobody looked at",
};
const $ = (id) => document.getElementById(id);

export class Figures {
  #drawn = [];
  #latencies = [];
  /** Refused images of the last report; those before the first are no news. */
  #nRefused = Infinity;

  /** Takes the first message of a node. */
  begin({ node, mode, model }) {
    this.#nRefused = Infinity;
    $("node").textContent = node ?? mode;
    document.title = `Pixio ${node ?? mode}`;
    $("warning").hidden = !model.warning;
    $("warning").textContent = model.warning ?? "";
    const facts = {
      model: model.name,
      weights: model.revision,
      features: `${model.channels} channels of block ${model.layer}`,
      input: model.input.join(" × "),
      engine: model.engine,
      place: model.place,
    };
    $("facts").replaceChildren(...Object.entries(facts).flatMap(([name, text]) => pair(name, text)));
  }

  /** Takes the node's report. */
  report(status, nLeftOut) {
    $("rate-in").textContent = status.rate_in.toFixed(1);
    $("rate-out").textContent = status.rate_out.toFixed(1);
    $("stages").replaceChildren(...Object.keys(STAGES).map((name) => stageRow(name, status.stages[name])));
    const pageCounts = { skipped: status.skipped, left_out: nLeftOut, pages: status.n_viewers };
    const titles = {
      ...COUNTS,
      skipped: "frames that this page was too slow for",
      left_out: "images of this page's source that were not sent, as newer ones came",
      pages: "pages that look at this node",
    };
    const counts = { ...status.counts, ...pageCounts };
    const known = Object.keys(titles).filter((name) => name in counts);
    $("counts").replaceChildren(
      ...known.flatMap((name) => {
        const [dt, dd] = pair(name.replace("_", " "), counts[name].toLocaleString("en"));
        dt.title = dd.title = titles[name];
        dd.classList.toggle("bad", name === "refused" && counts[name] > 0);
        dd.id = `count-${name}`;
        return [dt, dd];
      }),
    );
    if (!status.is_enabled)
      tell("enabled", "warning", "The node is switched off (set_enabled): no image is processed.");
    if (status.counts.refused > this.#nRefused) {
      tell(
        "refused",
        "warning",
        "The node has refused images; its log says why. Try another source or a smaller image.",
      );
    }
    this.#nRefused = status.counts.refused;
    this.#showOwn();
  }

  /**
   * Counts a frame that was drawn.
   * @param {number} [captured] of an image of this page, in the time of `performance.now()`
   */
  drawn(captured) {
    const now = performance.now();
    this.#drawn.push(now);
    if (captured !== undefined) this.#latencies.push(now - captured);
    if (this.#latencies.length > N_TIMES) this.#latencies.shift();
  }

  /** The node is gone, and with it what it told. */
  end() {
    for (const id of ["shown-rate", "rate-in", "rate-out", "latency"]) $(id).textContent = "–";
    this.#drawn = [];
  }

  /** Another source's times are others. */
  forget() {
    this.#latencies = [];
  }

  #showOwn() {
    const now = performance.now();
    this.#drawn = this.#drawn.filter((at) => now - at < RATE_MILLIS);
    $("shown-rate").textContent = ((this.#drawn.length * 1000) / RATE_MILLIS).toFixed(1);
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    $("latency").textContent = sorted.length ? sorted[sorted.length >> 1].toFixed(0) : "–";
  }
}

function stageRow(name, times) {
  const row = document.createElement("tr");
  row.title = STAGES[name];
  const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
  const cells = ["p50", "p95"].map((which) => {
    return Object.assign(document.createElement("td"), {
      textContent: times ? times[which].toFixed(1) : "–",
    });
  });
  row.append(head, ...cells);
  return row;
}

function pair(name, text) {
  return [
    ["dt", name],
    ["dd", text],
  ].map(([tag, textContent]) => {
    return Object.assign(document.createElement(tag), { textContent });
  });
}
