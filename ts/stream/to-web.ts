/**
 * Web streams over a stream: see `Stream.toWeb`.
 *
 * Nothing is read ahead: the readable side asks the reader for bytes only while a read of it waits, and a BYOB reader gets them in its own
 * memory. What is not read stays in the stream, where the limits of its back-pressure apply.
 */
import { Buffer } from 'node:buffer';
import { ReadableStream, WritableStream } from 'node:stream/web';
import type { ReadableByteStreamController, WritableStreamDefaultController } from 'node:stream/web';
import { ConnectionError, ignore } from '../errors.js';
import { readerIntake, type StreamReader } from '../reader/reader.js';
import { notAChunk, viewOf } from '../transports/web.js';
import type { HandedOver } from './hand-over.js';

/** How many bytes can be queued for writing before `desiredSize` is 0 or less. */
const HIGH_WATERMARK = 65536;

/** What `Stream.toWeb` returns. A direction that the stream does not have is closed. */
export interface ByteStreams {
  /** A byte stream. */
  readable: ReadableStream<Uint8Array>;
  /** Accepts bytes, and strings as UTF-8. */
  writable: WritableStream<ArrayBuffer | ArrayBufferView | string>;
}

/** See the top of this file. */
export function toWeb(source: HandedOver): ByteStreams {
  const streams = new WebHalves(source);
  return { readable: streams.readable, writable: streams.writable };
}

class WebHalves {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<ArrayBuffer | ArrayBufferView | string>;
  readonly #source: HandedOver;
  /** The most bytes of one chunk that is read without BYOB. */
  readonly #most: number = 0;
  #reading!: ReadableByteStreamController;
  #writing!: WritableStreamDefaultController;
  /** Whether each direction has ended: the connection is closed when both have. */
  #readOver = false;
  #writeOver = false;

  constructor(source: HandedOver) {
    this.#source = source;
    if (source.reader !== null) this.#most = readerIntake(source.reader).handOut();
    this.readable = new ReadableStream(
      {
        type: 'bytes',
        start: (controller) => {
          this.#reading = controller;
          if (source.reader === null) this.#endReading();
        },
        pull: () => this.#pull(source.reader!),
        cancel: () => this.#cancel(),
      },
      { highWaterMark: 0 },
    );
    this.writable = new WritableStream<ArrayBuffer | ArrayBufferView | string>(
      {
        start: (controller) => {
          this.#writing = controller;
        },
        write: (chunk) => this.#write(chunk),
        close: () => this.#close(),
        abort: (reason) => this.#abort(reason),
      },
      { highWaterMark: HIGH_WATERMARK, size: sizeOf },
    );
    if (source.writer === null) {
      this.#writeOver = true;
      void this.writable.close();
    }
    source.whenEnded().then(
      () => this.#ended(null),
      (error: unknown) => this.#ended(error),
    );
  }

  // ---------------------------------------------------------------------------------------------- reading

  async #pull(reader: StreamReader): Promise<void> {
    const request = this.#reading.byobRequest;
    const view = request?.view ?? null;
    if (request === null || view === null) {
      const chunk = await reader.read(this.#most);
      if (this.#readOver) return;
      if (chunk.length === 0) this.#endReading();
      else this.#reading.enqueue(owned(chunk));
      return;
    }
    const count = await reader.readinto(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    if (this.#readOver) return;
    if (count === 0) this.#endReading();
    request.respond(count);
  }

  #endReading(): void {
    this.#readOver = true;
    this.#reading.close();
    this.#closeIfOver();
  }

  #cancel(): void {
    this.#readOver = true;
    this.#source.endReading();
    this.#closeIfOver();
  }

  // ---------------------------------------------------------------------------------------------- writing

  async #write(chunk: unknown): Promise<void> {
    const data = typeof chunk === 'string' ? chunk : viewOf(chunk);
    if (data === null) {
      // The message lacks a part, so it must not be ended in order.
      const error = notAChunk('toWeb', 'a chunk', chunk);
      this.#abort(error);
      throw error;
    }
    await this.#source.writer!.write(data);
  }

  async #close(): Promise<void> {
    if (this.#source.writer !== null) await this.#source.endWriting();
    this.#writeOver = true;
    this.#closeIfOver();
  }

  #abort(reason: unknown): void {
    void this.#source.stream.abort();
    if (this.#readOver) return;
    this.#readOver = true;
    this.#reading.error(reason);
  }

  // ---------------------------------------------------------------------------------------------- the end

  #closeIfOver(): void {
    if (this.#readOver && this.#writeOver) this.#source.stream.close().catch(ignore);
  }

  /** The connection has ended, with the reason if it was lost. */
  #ended(reason: unknown): void {
    const { stream, reader } = this.#source;
    // Has no effect on a writable that was closed.
    this.#writing.error(reason ?? new ConnectionError('ECONNRESET', 'toWeb: the stream was closed'));
    // What was received is read first, then the reader reports how the connection has ended. A chunk may be queued if a reader was released
    // while it waited: an error would drop it.
    if (reason === null || this.#readOver || reader === null) return;
    if (stream.buffered > 0 || (this.#reading.desiredSize ?? 0) < 0) return;
    this.#readOver = true;
    this.#reading.error(reason);
  }
}

/** Bytes in memory that can be transferred: readable streams detach it. */
function owned(chunk: Buffer): Uint8Array {
  const { buffer, byteOffset, byteLength } = chunk;
  return byteOffset === 0 && byteLength === buffer.byteLength ? new Uint8Array(buffer) : new Uint8Array(chunk);
}

/** The size of a chunk in bytes; that of one which is refused does not matter. */
function sizeOf(chunk: unknown): number {
  return typeof chunk === 'string' ? Buffer.byteLength(chunk) : (viewOf(chunk)?.byteLength ?? 1);
}
