/**
 * it-byte-stream: `await stream.read({ bytes })`, which waits for that number of bytes. It has no call for lines, so it receives
 * the length of each line and does not search.
 *
 *     node it-byte-stream.js PORT FRAME_BYTES END_BYTES [verify]
 *
 * END_BYTES of each frame are its separator.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { byteStream } from 'it-byte-stream';

import { answer, digest, now, words } from './program.js';

const [port, frameBytes, endBytes] = words as [number, number, number];

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
answer(frames, bytes, now() - start);
socket.destroy();
