/** sluice: all ways to read frames with a 4-byte length. The argument after the port is the name of the way. */
import { byHand, measure, take, takeInPlace } from './ways.js';

const HEADER_BYTES = 4;
const FRAMING = { length: 'uint32be', skip: 'header' } as const;

function takeAll(buffer: Buffer): number {
  let from = 0;
  while (from + HEADER_BYTES <= buffer.length) {
    const end = from + HEADER_BYTES + buffer.readUInt32BE(from);
    if (end > buffer.length) break;
    takeInPlace(buffer, from + HEADER_BYTES, end);
    from = end;
  }
  return from;
}

await measure({
  readexactly: async (stream) => {
    for (;;) {
      const header = await stream.readexactly(HEADER_BYTES);
      take(await stream.readexactly(header.readUInt32BE(0)));
    }
  },
  'try readexactly': async (stream) => {
    for (;;) {
      const header = stream.tryReadexactly(HEADER_BYTES) ?? (await stream.readexactly(HEADER_BYTES));
      const length = header.readUInt32BE(0);
      take(stream.tryReadexactly(length) ?? (await stream.readexactly(length)));
    }
  },
  readframe: async (stream) => {
    for (let frame; (frame = await stream.readframe(FRAMING)) !== null;) take(frame);
  },
  try: async (stream) => {
    for (let frame; (frame = stream.tryReadframe(FRAMING) ?? (await stream.readframe(FRAMING))) !== null;) take(frame);
  },
  'frames()': async (stream) => {
    for await (const frame of stream.frames(FRAMING)) take(frame);
  },
  readframes: async (stream) => {
    for (let frames; (frames = await stream.readframes({ length: 'uint32be' })).length > 0;) {
      let from = 0;
      for (const end of frames.ends) {
        takeInPlace(frames.bytes, from + HEADER_BYTES, end);
        from = end;
      }
    }
  },
  ...byHand(takeAll),
});
