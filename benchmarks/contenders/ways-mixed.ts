/**
 * sluice: all ways to read messages of a line that contains a length, and that many bytes, such as the strings of RESP, `VALUE` of
 * memcached, and a body of HTTP: `60\r\n`, then the bytes. The argument after the port is the name of the way.
 */
import { byHand, measure, take, takeInPlace } from './ways.js';

const CR = 0x0d;
const ZERO = 0x30;
const CRLF = Buffer.from('\r\n');

/** The number in a line. */
function lengthOf(line: Buffer): number {
  return Number(line.toString('latin1', 0, line.length - CRLF.length));
}

function takeAll(buffer: Buffer): number {
  let from = 0;
  for (;;) {
    let at = from;
    let length = 0;
    while (at < buffer.length && buffer[at] !== CR) length = length * 10 + buffer[at++]! - ZERO;
    const begin = at + CRLF.length;
    if (begin + length > buffer.length) return from;
    from = begin + length;
    takeInPlace(buffer, begin, from);
  }
}

await measure({
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
  ...byHand(takeAll),
});
