/**
 * it-length-prefixed-stream: `await stream.read()`. Its length is a varint unless it receives a decoder, and it reads a length byte
 * by byte until the decoder throws no `RangeError`; this decoder throws the same one each time, so that no stack is captured.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { lpStream } from 'it-length-prefixed-stream';

import { answer, digest, now, port } from './program.js';

const HEADER_BYTES = 4;
const incomplete = new RangeError('the length is incomplete');

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
const stream = lpStream(
  {
    source: socket as AsyncIterable<Uint8Array>,
    async sink(source: AsyncIterable<Uint8Array>): Promise<void> {
      for await (const bytes of source) socket.write(bytes);
    },
  },
  {
    lengthDecoder(header) {
      if (header.byteLength < HEADER_BYTES) throw incomplete;
      return header.getUint32(0);
    },
  },
);
let frames = 0;
let bytes = 0;
try {
  for (;;) {
    const payload = await stream.read();
    frames++;
    bytes += payload.byteLength;
    digest?.frame(payload.subarray());
  }
} catch (error) {
  // Its class is not exported.
  if ((error as Error).name !== 'UnexpectedEOFError') throw error;
}
answer(frames, bytes, now() - start);
socket.destroy();
