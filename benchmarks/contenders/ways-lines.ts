/** sluice: all ways to read lines. The argument after the port is the name of the way. */
import { byHand, measure, take, takeInPlace } from './ways.js';

const LF = 0x0a;

/** Receives a line with its line feed. */
function takeLine(line: Buffer): void {
  takeInPlace(line, 0, line.length - 1);
}

function takeAll(buffer: Buffer): number {
  let from = 0;
  for (let end; (end = buffer.indexOf(LF, from)) !== -1; from = end + 1) takeInPlace(buffer, from, end);
  return from;
}

await measure({
  readline: async (stream) => {
    for (let line; (line = await stream.readline()).length > 0;) takeLine(line);
  },
  try: async (stream) => {
    for (let line; (line = stream.tryReadline() ?? (await stream.readline())).length > 0;) takeLine(line);
  },
  'for await': async (stream) => {
    for await (const line of stream) takeLine(line);
  },
  'lines()': async (stream) => {
    for await (const line of stream.lines()) take(line);
  },
  batches: async (stream) => {
    for await (const batch of stream.lines().batches()) for (const line of batch) take(line);
  },
  readframes: async (stream) => {
    for (let frames; (frames = await stream.readframes()).length > 0;) {
      let from = 0;
      for (const end of frames.ends) {
        takeInPlace(frames.bytes, from, end - 1);
        from = end;
      }
    }
  },
  ...byHand(takeAll),
});
