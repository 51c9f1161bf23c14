/** The messages of docs/live.md as bytes. */

/** The version of the protocol that this page speaks. */
export const VERSION = 1;

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder() };

/**
 * A binary message: a little-endian length, JSON of that length, and bytes.
 * @param {object} head
 * @param {ArrayBuffer} bytes
 */
export function pack(head, bytes) {
  const json = utf8.encoder.encode(JSON.stringify(head));
  const message = new Uint8Array(4 + json.length + bytes.byteLength);
  new DataView(message.buffer).setUint32(0, json.length, true);
  message.set(json, 4);
  message.set(new Uint8Array(bytes), 4 + json.length);
  return message;
}

/**
 * The JSON of a binary message, and its blobs by name, each with its own `bytes`.
 * @param {ArrayBuffer} message
 */
export function unpack(message) {
  const length = new DataView(message).getUint32(0, true);
  const head = JSON.parse(utf8.decoder.decode(new Uint8Array(message, 4, length)));
  const blobs = new Map();
  let from = 4 + length;
  for (const { name, bytes, ...about } of head.blobs) {
    // A copy begins where 16 and 32 bit numbers may begin.
    blobs.set(name, { ...about, bytes: message.slice(from, from + bytes) });
    from += bytes;
  }
  return { head, blobs };
}

/** The value of every float16: 5 bits of exponent, 10 of fraction. */
const floatOfHalf = Float32Array.from({ length: 65536 }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
});

/**
 * Float16 numbers as float32.
 * @param {ArrayBuffer} bytes
 */
export function floatsOfHalves(bytes) {
  return Float32Array.from(new Uint16Array(bytes), (bits) => floatOfHalf[bits]);
}
