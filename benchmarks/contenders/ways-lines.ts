/** sluice: all ways to read lines. The argument after the port is the name of the way. */
import { connect, type Stream } from 'sluice';

import { answer, cpuSince, digest, now, port, word } from './program.js';

const LF = 0x0a;

let lines = 0;
let bytes = 0;

/** Receives a line with its line feed. */
function take(line: Buffer): void {
  lines++;
  bytes += line.length - 1;
  digest?.frame(line.subarray(0, -1));
}

/** Receives a line without its line feed. */
function takeText(line: string): void {
  lines++;
  bytes += line.length;
  digest?.frame(line);
}

/** Receives all complete lines in `buffer`, and returns where the last one ends. */
function takeAll(buffer: Buffer): number {
  let from = 0;
  for (let end; (end = buffer.indexOf(LF, from)) !== -1; from = end + 1) {
    lines++;
    bytes += end - from;
    digest?.frame(buffer.subarray(from, end));
  }
  return from;
}

const ways: Readonly<Record<string, (stream: Stream) => Promise<void>>> = {
  readline: async (stream) => {
    for (let line; (line = await stream.readline()).length > 0;) take(line);
  },
  try: async (stream) => {
    for (let line; (line = stream.tryReadline() ?? (await stream.readline())).length > 0;) take(line);
  },
  'for await': async (stream) => {
    for await (const line of stream) take(line);
  },
  'lines()': async (stream) => {
    for await (const line of stream.lines()) takeText(line);
  },
  batches: async (stream) => {
    for await (const batch of stream.lines().batches()) for (const line of batch) takeText(line);
  },
  readframes: async (stream) => {
    for (let frames; (frames = await stream.readframes()).length > 0;) {
      let from = 0;
      for (const end of frames.ends) {
        lines++;
        bytes += end - from - 1;
        digest?.frame(frames.bytes.subarray(from, end - 1));
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
await ways[word]!(stream);
answer(lines, bytes, now() - start, cpuSince(cpu));
await stream.close();
