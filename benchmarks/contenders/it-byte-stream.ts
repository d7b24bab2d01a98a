/**
 * it-byte-stream: `await stream.read({ bytes })`, which waits for so many bytes. It has no call for lines: here it is told
 * how long each of them is, and has nothing to search for.
 *
 *     node it-byte-stream.js PORT FRAME_BYTES END_BYTES [verify]
 *
 * Of each frame END_BYTES are its separator.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { byteStream } from 'it-byte-stream';

import { Digest } from './digest.js';
import { now } from './program.js';

const [port, frameBytes, endBytes] = process.argv.slice(2, 5).map(Number) as [number, number, number];
const digest = process.argv[5] === 'verify' ? new Digest() : null;

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
const stream = byteStream({
  source: socket as AsyncIterable<Uint8Array>,
  async sink(source: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const bytes of source) socket.write(bytes);
  },
});
let frames = 0;
let bytes = 0;
try {
  for (;;) {
    const frame = await stream.read({ bytes: frameBytes });
    frames++;
    bytes += frame.byteLength - endBytes;
    digest?.frame(frame.subarray(0, frame.byteLength - endBytes));
  }
} catch (error) {
  // Its class is not exported.
  if ((error as Error).name !== 'UnexpectedEOFError') throw error;
}
const seconds = now() - start;
console.log(JSON.stringify({ frames, bytes, seconds, ...(digest && { digest: String(digest) }) }));
socket.destroy();
