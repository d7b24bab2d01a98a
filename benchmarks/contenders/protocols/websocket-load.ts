/**
 * The load on the WebSocket echo servers.
 *
 *     node websocket-load.js PORT SIZE DEPTH COUNT
 *
 * Sends COUNT messages of SIZE bytes, with DEPTH in flight, compares every byte of the answers, and prints one line of JSON: the
 * messages (`frames`), the bytes of their payloads, the seconds, and the 99th percentile of the latency in ms (`p99`).
 *
 * To cost less than any server, it makes all frames in advance, writes as many of them as were answered, and compares whatever has arrived.
 */
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';

const [port, size, depth, count] = process.argv.slice(2).map(Number) as [number, number, number, number];

/** As many different messages as can be in flight, and at least two, so that an answer to another message is noticed. */
const DISTINCT = Math.max(depth, 2);

/** The bytes that are read at once. */
const CHUNK = 262_144;

function frame(payload: Buffer, key: Buffer | null): Buffer {
  const head = Buffer.alloc(size < 126 ? 2 : size < 65_536 ? 4 : 10);
  head[0] = 0x82;
  head[1] = head.length === 2 ? size : head.length === 4 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(size, 2);
  if (head.length === 10) head.writeUInt32BE(size, 6);
  if (key === null) return Buffer.concat([head, payload]);
  head[1] |= 0x80;
  return Buffer.concat([head, key, payload.map((byte, i) => byte ^ key[i % key.length]!)]);
}

function bytes(length: number, seed: string): Buffer {
  return createHash('shake256', { outputLength: length }).update(seed).digest();
}

const messages = Array.from({ length: DISTINCT }, (_, i) => bytes(size, `message ${i}`));
const requests = messages.map((message, i) => frame(message, bytes(4, `key ${i}`)));
const responses = messages.map((message) => frame(message, null));
const requestLength = requests[0]!.length;
const responseLength = responses[0]!.length;
/** Twice, so that as many as can be in flight follow each of them. */
const outgoing = Buffer.concat([...requests, ...requests]);
const expected = Buffer.concat(responses);

/** Sends the request for the upgrade, and waits for its response. */
async function upgrade(socket: Socket, nextChunk: () => Promise<Buffer>): Promise<void> {
  socket.write(
    `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  );
  let head = '';
  while (!head.endsWith('\r\n\r\n')) head += (await nextChunk()).toString('latin1');
  if (
    !head.startsWith('HTTP/1.1 101 ') ||
    !head.includes('\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n')
  ) {
    throw new Error(`not upgraded: ${head}`);
  }
}

let onChunk: (chunk: Buffer) => void = () => {};
const socket = connect({
  port,
  host: '127.0.0.1',
  noDelay: true,
  onread: {
    buffer: Buffer.alloc(CHUNK),
    callback(length, buffer) {
      onChunk((buffer as Buffer).subarray(0, length));
      return true;
    },
  },
});
socket.on('close', () => {
  throw new Error('the server has closed the connection');
});
await upgrade(socket, () => new Promise((resolve) => (onChunk = resolve)));

/** When each message in flight was sent. */
const sentAt = new Float64Array(DISTINCT);
const latencies = new Float64Array(count);
let sent = 0;
let answered = 0;
let received = 0;

function send(messages: number): void {
  const first = sent % DISTINCT;
  const now = performance.now();
  for (let i = 0; i < messages; i++) sentAt[(first + i) % DISTINCT] = now;
  socket.write(outgoing.subarray(first * requestLength, (first + messages) * requestLength));
  sent += messages;
}

const start = performance.now();
await new Promise<void>((resolve) => {
  onChunk = (chunk) => {
    for (let at = 0; at < chunk.length;) {
      const from = received % expected.length;
      const end = Math.min(chunk.length, at + expected.length - from);
      if (chunk.compare(expected, from, from + end - at, at, end) !== 0) {
        throw new Error(`a wrong answer, after ${answered} that were right`);
      }
      received += end - at;
      at = end;
    }
    const now = performance.now();
    const complete = Math.floor(received / responseLength);
    if (complete > sent) throw new Error(`${complete} answers to ${sent} messages`);
    for (; answered < complete; answered++) latencies[answered] = now - sentAt[answered % DISTINCT]!;
    const missing = Math.min(depth - (sent - answered), count - sent);
    if (missing > 0) send(missing);
    else if (answered === count) resolve();
  };
  send(Math.min(depth, count));
});
const seconds = (performance.now() - start) / 1000;
const p99 = latencies.sort()[Math.ceil(count * 0.99) - 1];
console.log(JSON.stringify({ frames: count, bytes: count * size, seconds, p99 }));
process.exit();
