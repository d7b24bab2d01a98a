/**
 * The awaiting reader of frames with a 4-byte length that people write by hand: `'data'` events gathered by `Buffer.concat`,
 * `readUInt32BE`, and a `subarray` for the frame and one for the rest.
 */
import { AwaitingReader, HEADER_BYTES, receiveFrames } from './awaiting-reader.js';

class FrameReader extends AwaitingReader {
  #buffer: Buffer = Buffer.alloc(0);

  protected push(chunk: Buffer): void {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
  }

  async readframe(): Promise<Buffer | null> {
    for (;;) {
      const buffer = this.#buffer;
      if (buffer.length >= HEADER_BYTES) {
        const end = HEADER_BYTES + buffer.readUInt32BE(0);
        if (buffer.length >= end) {
          this.#buffer = buffer.subarray(end);
          return buffer.subarray(0, end);
        }
      }
      if (this.error) throw this.error;
      if (this.ended) {
        if (buffer.length > 0) throw new Error(`${buffer.length} bytes of a frame before EOF`);
        return null;
      }
      await this.arrival();
    }
  }
}

await receiveFrames(FrameReader);
