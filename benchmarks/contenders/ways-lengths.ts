/** sluice: all ways to read frames with a 4-byte length. The argument after the port is the name of the way. */
import { connect, IncompleteReadError, type Stream } from 'sluice';

import { answer, cpuSince, digest, now, port, word } from './program.js';

const HEADER_BYTES = 4;
const FRAMING = { length: 'uint32be', skip: 'header' } as const;

let frames = 0;
let bytes = 0;

/** Receives a payload. */
function take(payload: Buffer): void {
  frames++;
  bytes += payload.length;
  digest?.frame(payload);
}

/** Receives all complete frames in `buffer`, and returns where the last one ends. */
function takeAll(buffer: Buffer): number {
  let from = 0;
  while (from + HEADER_BYTES <= buffer.length) {
    const end = from + HEADER_BYTES + buffer.readUInt32BE(from);
    if (end > buffer.length) break;
    frames++;
    bytes += end - from - HEADER_BYTES;
    digest?.frame(buffer.subarray(from + HEADER_BYTES, end));
    from = end;
  }
  return from;
}

const ways: Readonly<Record<string, (stream: Stream) => Promise<void>>> = {
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
    for (let batch; (batch = await stream.readframes({ length: 'uint32be' })).length > 0;) {
      let from = 0;
      for (const end of batch.ends) {
        frames++;
        bytes += end - from - HEADER_BYTES;
        digest?.frame(batch.bytes.subarray(from + HEADER_BYTES, end));
        from = end;
      }
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
answer(frames, bytes, now() - start, cpuSince(cpu));
await stream.close();
