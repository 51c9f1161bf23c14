/** Sentences for the user: one a topic, so that a newer one takes the place of an older one. */

const list = document.getElementById("notices");
const spoken = document.getElementById("spoken");
const shown = new Map();
/** What says only that something is fine goes by itself. */
const INFO_MILLIS = 6000;

/**
 * @param {string} topic
 * @param {"info" | "warning" | "error"} level
 * @param {string} text
 * @param {{label: string, run: () => void}} [way] a button that leads on
 */
export function tell(topic, level, text, way) {
  if (shown.get(topic)?.text === text) return;
  clear(topic);
  const item = document.createElement("li");
  item.className = level;
  item.dataset.topic = topic;
  item.append(Object.assign(document.createElement("span"), { textContent: text }));
  if (way) item.append(button(way.label, () => (clear(topic), way.run())));
  item.append(button("Dismiss", () => clear(topic)));
  list.append(item);
  const timer = level === "info" && !way ? setTimeout(() => clear(topic), INFO_MILLIS) : undefined;
  shown.set(topic, { item, text, timer });
}

/** @param {string} topic */
export function clear(topic) {
  const notice = shown.get(topic);
  if (!notice) return;
  clearTimeout(notice.timer);
  notice.item.remove();
  shown.delete(topic);
}

/** Says a text to screen readers only. */
export function speak(text) {
  spoken.textContent = text;
}

function button(label, run) {
  const made = Object.assign(document.createElement("button"), { textContent: label });
  made.addEventListener("click", run);
  return made;
}
