/**
 * The hand-written awaiting reader of frames with a 4-byte length, optimised: `Buffer.concat` only for a frame that spans two chunks,
 * one view a frame and an offset for the rest, and back-pressure.
 */
import { AwaitingReader, HEADER_BYTES, receiveFrames } from './awaiting-reader.js';

const HIGH_WATERMARK = 128 * 1024;
const LOW_WATERMARK = 64 * 1024;

class FrameReader extends AwaitingReader {
  /** The unread bytes begin at #start. */
  #buffer: Buffer = Buffer.alloc(0);
  #start = 0;
  #paused = false;

  async readframe(): Promise<Buffer | null> {
    for (;;) {
      const buffer = this.#buffer;
      const start = this.#start;
      if (start + HEADER_BYTES <= buffer.length) {
        const end = start + HEADER_BYTES + buffer.readUInt32BE(start);
        if (end <= buffer.length) {
          this.#start = end;
          if (this.#paused && buffer.length - end <= LOW_WATERMARK) this.#resume();
          return buffer.subarray(start, end);
        }
      }
      if (this.error) throw this.error;
      if (this.ended) {
        if (start < buffer.length) throw new Error(`${buffer.length - start} bytes of a frame before EOF`);
        return null;
      }
      if (this.#paused) this.#resume();
      await this.arrival();
    }
  }

  protected push(chunk: Buffer): void {
    const hasRest = this.#start < this.#buffer.length;
    this.#buffer = hasRest ? Buffer.concat([this.#buffer.subarray(this.#start), chunk]) : chunk;
    this.#start = 0;
    if (this.#buffer.length > HIGH_WATERMARK) {
      this.#paused = true;
      this.socket.pause();
    }
  }

  #resume(): void {
    this.#paused = false;
    this.socket.resume();
  }
}

await receiveFrames(FrameReader);
