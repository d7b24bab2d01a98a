/**
 * A Node `Duplex` over a stream: see `Stream.toDuplex`.
 *
 * Its two halves call the reader and the writer of the stream. What remains is the end. A connection ends for both halves at once, and a
 * `Duplex` that is destroyed drops what it has buffered. So when the connection has ended, the duplex is destroyed only after everything
 * that was received has been consumed:
 *
 *     open ---the connection has ended---> ending ---everything is consumed---> destroyed
 *                                             |                                     ^
 *                                             '--- a write fails, nothing consumes -'
 */
import type { Socket } from 'node:net';
import { Duplex, type DuplexOptions } from 'node:stream';
import { readerIntake, type StreamReader } from '../reader/reader.js';
import type { HandedOver } from './hand-over.js';

/** With this many bytes buffered in a direction, the duplex stops reading, or asks to wait for `'drain'`. */
const HIGH_WATERMARK = 65536;

type Callback = (error?: Error | null) => void;

/** See the top of this file. */
export class StreamDuplex extends Duplex {
  readonly #source: HandedOver;
  /** The most bytes that one chunk has. */
  readonly #most: number = 0;
  /** Why the connection has ended: null if this side has closed it. Undefined while it is open. */
  #ending: Error | null | undefined = undefined;
  /** Whether a read has rejected: everything that was received is in the buffer of the duplex. */
  #readFailed = false;
  /** The callback of a write that has failed because the connection has ended. */
  #failedWrite: Callback | null = null;
  /** The time of {@link setTimeout}, in ms, under the name that it has for a socket. */
  timeout = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(source: HandedOver) {
    const options: DuplexOptions & { readable: boolean; writable: boolean } = {
      readable: source.reader !== null,
      writable: source.writer !== null,
      readableHighWaterMark: HIGH_WATERMARK,
      writableHighWaterMark: HIGH_WATERMARK,
    };
    super(options);
    this.#source = source;
    if (source.reader !== null) this.#most = readerIntake(source.reader).handOut();
    source.whenEnded().then(
      () => this.#end(null),
      (error: unknown) => this.#end(error as Error),
    );
  }

  // ---------------------------------------------------------------------------------------------- reading

  override _read(): void {
    const reader = this.#source.reader!;
    let chunk: Buffer | undefined;
    try {
      chunk = reader.tryRead(this.#most);
    } catch (error) {
      this.#lost(error as Error);
      return;
    }
    // Node may call this again as soon as something was pushed, so there is only one push for each call.
    if (chunk !== undefined) this.#deliver(chunk);
    else this.#waitForChunk(reader);
  }

  #waitForChunk(reader: StreamReader): void {
    reader.read(this.#most).then(
      (chunk) => this.#deliver(chunk),
      (error: unknown) => this.#lost(error as Error),
    );
  }

  #lost(error: Error): void {
    this.#readFailed = true;
    this.#end(error);
  }

  #deliver(chunk: Buffer): void {
    this.#timer?.refresh();
    this.push(chunk.length === 0 ? null : chunk);
  }

  /** Everything that takes chunks calls this: `'data'` events, pipes, iterators. */
  override read(size?: number): unknown {
    const chunk: unknown = super.read(size);
    if (this.#ending !== undefined) this.#settle();
    return chunk;
  }

  // ---------------------------------------------------------------------------------------------- writing

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    this.#written(this.#source.writer!.write(chunk), callback);
  }

  override _writev(chunks: { chunk: Buffer }[], callback: Callback): void {
    this.#written(this.#source.writer!.writelines(chunks.map(({ chunk }) => chunk)), callback);
  }

  #written(result: Promise<void>, callback: Callback): void {
    this.#timer?.refresh();
    result.then(
      () => callback(),
      (error: unknown) => this.#writeFailed(error as Error, callback),
    );
  }

  override _final(callback: Callback): void {
    this.#written(this.#source.endWriting(), callback);
  }

  #writeFailed(error: Error, callback: Callback): void {
    const loss = this.#source.stream.exception();
    if (loss === null || this.destroyed) {
      callback(error);
      return;
    }
    // Node destroys the duplex as soon as the callback gets an error. What the peer sent before is delivered first.
    this.#failedWrite = callback;
    this.#end(loss);
  }

  // ---------------------------------------------------------------------------------------------- what agents of HTTP call

  // An `http.Agent` that keeps connections alive calls these without checking whether there are such methods.

  ref(): this {
    this.#source.stream.transport.ref();
    return this;
  }

  unref(): this {
    this.#source.stream.transport.unref();
    return this;
  }

  setKeepAlive(...args: Parameters<Socket['setKeepAlive']>): this {
    this.#socket?.setKeepAlive?.(...args);
    return this;
  }

  setNoDelay(...args: Parameters<Socket['setNoDelay']>): this {
    this.#socket?.setNoDelay?.(...args);
    return this;
  }

  /** As for a socket: emits `'timeout'` after `time` ms without a chunk in either direction; 0: never. */
  setTimeout(time: number, onTimeout?: () => void): this {
    clearTimeout(this.#timer);
    this.timeout = time;
    this.#timer = time > 0 ? setTimeout(() => this.emit('timeout'), time).unref() : undefined;
    if (onTimeout === undefined) return this;
    return time > 0 ? this.once('timeout', onTimeout) : this.off('timeout', onTimeout);
  }

  get #socket(): Partial<Socket> | undefined {
    return this.#source.stream.getExtraInfo('socket') as Partial<Socket> | undefined;
  }

  // ---------------------------------------------------------------------------------------------- the end

  #end(error: Error | null): void {
    if (this.#ending === undefined) this.once('end', () => this.#settle());
    this.#ending ??= error;
    this.#settle();
  }

  /** Destroys the duplex if the connection has ended and nothing is left to deliver. */
  #settle(): void {
    if (this.destroyed || this.#ending === undefined || this.#delivers) return;
    if (this.#ending === null && this.#isComplete) return;
    this.destroy(this.#ending ?? undefined);
  }

  /** Whether something is left to deliver, or reading has not reported the end yet. */
  get #delivers(): boolean {
    if (this.#isDelivered) return false;
    if (this.readableFlowing !== null || this.listenerCount('readable') > 0) return true;
    // Nothing consumes it. Something may do so later, and then expects the end; unless the connection is lost and nothing is unread, or a
    // write needs an answer now.
    if (this.#ending === null) return true;
    return this.#failedWrite === null && this.readableLength + this.#source.reader!.buffered > 0;
  }

  /** Whether everything that was received has been consumed, with its end. */
  get #isDelivered(): boolean {
    if (this.#source.reader === null || this.readableEnded) return true;
    return this.#readFailed && this.readableLength === 0;
  }

  /** Whether both directions have ended in order, so that Node destroys the duplex itself. */
  get #isComplete(): boolean {
    const { reader, writer } = this.#source;
    return (reader === null || this.readableEnded) && (writer === null || this.writableFinished);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    clearTimeout(this.#timer);
    const { stream } = this.#source;
    const done = (): void => {
      this.#failedWrite?.(error);
      callback(error);
    };
    if (error === null && this.#isComplete) stream.close().then(done, done);
    else void stream.abort().then(done);
  }
}
