/** The WebSocket to the node. It comes back by itself. */

const FIRST_WAIT_MILLIS = 250;
const LONGEST_WAIT_MILLIS = 5000;
/** What a server answers to a page whose cookie is not of this run of the node. */
const STRANGER = [401, 403];

export class Connection {
  #socket = null;
  #wait = FIRST_WAIT_MILLIS;
  #on;

  /**
   * @param {{
   *   text: (message: object) => void,
   *   frame: (message: ArrayBuffer) => void,
   *   lost: (why: {reason: string, isStopping: boolean}) => void,
   *   stranger: () => void,
   *   gone: () => void,
   * }} on what happens: a message, the end of a connection, and why there is no new one
   */
  constructor(on) {
    this.#on = on;
    this.#open();
  }

  /** A message to the node; without a connection it is lost, for the next `hello` begins anew. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(ArrayBuffer.isView(message) ? message : JSON.stringify(message));
    return true;
  }

  #open() {
    const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/socket`);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      this.#wait = FIRST_WAIT_MILLIS;
      if (typeof data === "string") this.#on.text(JSON.parse(data));
      else this.#on.frame(data);
    };
    socket.onclose = ({ code, reason }) => {
      this.#on.lost({ reason, isStopping: code === 1001 });
      this.#again();
    };
  }

  /** A refused WebSocket does not say why, so the page itself is asked for first. */
  async #again() {
    await new Promise((done) => setTimeout(done, this.#wait));
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MILLIS);
    const answer = await fetch("/", { cache: "no-store" }).catch(() => null);
    if (answer?.ok) return this.#open();
    if (answer && STRANGER.includes(answer.status)) this.#on.stranger();
    else this.#on.gone();
    return this.#again();
  }
}
