/**
 * sluice: all ways to read messages of a line that contains a length, and that many bytes, such as the strings of RESP, `VALUE` of
 * memcached, and a body of HTTP: `60\r\n`, then the bytes. The argument after the port is the name of the way.
 */
import { connect, IncompleteReadError, type Stream } from 'sluice';

import { answer, cpuSince, digest, now, port, word } from './program.js';

const CR = 0x0d;
const ZERO = 0x30;
const CRLF = Buffer.from('\r\n');

let messages = 0;
let bytes = 0;

/** Receives a body. */
function take(body: Buffer): void {
  messages++;
  bytes += body.length;
  digest?.frame(body);
}

/** The number in a line. */
function lengthOf(line: Buffer): number {
  return Number(line.toString('latin1', 0, line.length - CRLF.length));
}

/** Receives all complete messages in `buffer`, and returns where the last one ends. */
function takeAll(buffer: Buffer): number {
  let from = 0;
  for (;;) {
    let at = from;
    let length = 0;
    while (at < buffer.length && buffer[at] !== CR) length = length * 10 + buffer[at++]! - ZERO;
    const begin = at + CRLF.length;
    if (begin + length > buffer.length) return from;
    messages++;
    bytes += length;
    digest?.frame(buffer.subarray(begin, begin + length));
    from = begin + length;
  }
}

const ways: Readonly<Record<string, (stream: Stream) => Promise<void>>> = {
  readuntil: async (stream) => {
    for (;;) {
      const length = lengthOf(await stream.readuntil(CRLF));
      take(await stream.readexactly(length));
    }
  },
  try: async (stream) => {
    for (;;) {
      const length = lengthOf(stream.tryReaduntil(CRLF) ?? (await stream.readuntil(CRLF)));
      take(stream.tryReadexactly(length) ?? (await stream.readexactly(length)));
    }
  },
  window: async (stream) => {
    for (let need = 1; ;) {
      const window = await stream.window(need);
      if (window.length < need) return;
      const end = takeAll(window);
      stream.consume(end);
      need = window.length - end + 1;
    }
  },
  read: async (stream) => {
    let rest: Buffer = Buffer.alloc(0);
    for (let chunk; (chunk = await stream.read(65536)).length > 0;) {
      const buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      rest = buffer.subarray(takeAll(buffer));
    }
  },
};

const stream = await connect('127.0.0.1', port);
const start = now();
const cpu = process.cpuUsage();
try {
  await ways[word]!(stream);
} catch (error) {
  if (!(error instanceof IncompleteReadError) || error.partial.length > 0) throw error; // not EOF between two messages
}
answer(messages, bytes, now() - start, cpuSince(cpu));
await stream.close();
