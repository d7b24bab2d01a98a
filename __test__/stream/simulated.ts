/** A connection without a network, for streams on a simulated clock. */
import { TimeoutError } from 'sluice';
import { Stream } from '#ts/stream/stream.js';
import { checkConnectionTimeouts, type TimeoutOptions } from '#ts/stream/timeouts.js';
import { StreamMode, type Transport, type TransportSink } from '#ts/transports/transport.js';

/** A transport whose peer and kernel do what a test says. */
export class SimulatedTransport implements Transport {
  readonly mode = StreamMode.READWRITE;
  readonly canWriteEof = true;
  isClosing = false;
  /** How many bytes the kernel accepts at once, before it is full. */
  room = 0;
  pendingBytes = 0;
  bytesAccepted = 0;
  bytesUnsent = 0;
  /** Whether the stream wants more bytes. */
  flowing = true;
  sink!: TransportSink;
  #done: (() => void) | null = null;
  #closed = false;

  start(sink: TransportSink): void {
    this.sink = sink;
  }

  pauseReading(): void {
    this.flowing = false;
  }

  resumeReading(): void {
    this.flowing = true;
  }

  /** Bytes arrive: in memory of the transport, or, if the stream offers it, in that of the stream. */
  deliver(bytes: Uint8Array, direct = false): void {
    if (this.isClosing) return;
    const target = direct ? this.sink.readTarget(true) : null;
    if (target === null || target.length < bytes.length) {
      this.flowing = this.sink.feed(bytes);
      return;
    }
    target.set(bytes);
    this.flowing = this.sink.commit(bytes.length);
  }

  eof(): void {
    if (!this.isClosing) this.sink.eof();
  }

  write(data: Uint8Array, done: () => void): boolean {
    return this.writev([data], done);
  }

  writev(pieces: readonly Uint8Array[], done: () => void): boolean {
    if (this.isClosing) return false;
    this.pendingBytes = pieces.reduce((sum, { length }) => sum + length, 0);
    this.#done = done;
    const { room } = this;
    this.room = 0;
    this.#accept(room);
    if (this.pendingBytes > 0) return false;
    this.#done = null;
    return true;
  }

  /** The kernel accepts this many of the bytes that wait, or all of them. */
  accept(count: number): void {
    this.#accept(count);
    if (this.pendingBytes > 0) return;
    const done = this.#done;
    this.#done = null;
    done?.();
  }

  #accept(count: number): void {
    const accepted = Math.min(count, this.pendingBytes);
    this.pendingBytes -= accepted;
    this.bytesAccepted += accepted;
  }

  writeEof(): void {}

  expectClose(): void {}

  close(): void {
    this.#end(null);
  }

  abort(reason?: Error): void {
    this.#end(reason ?? null);
  }

  /** The connection breaks. */
  lose(reason: Error): void {
    this.#end(reason);
  }

  #end(reason: Error | null): void {
    this.isClosing = true;
    queueMicrotask(() => {
      if (this.#closed) return;
      this.#closed = true;
      this.pendingBytes = 0;
      this.sink.closed(reason);
    });
  }

  ref(): void {}
  unref(): void {}

  getExtraInfo(name: string): unknown {
    return name === 'peername' ? { address: '192.0.2.1', port: 7, family: 'IPv4' } : undefined;
  }
}

export interface Simulated {
  readonly stream: Stream;
  readonly transport: SimulatedTransport;
  /** What a server would have been told when the connection ended: once. */
  readonly ends: (Error | null)[];
}

/** A stream over such a transport. */
export function simulate(
  timeouts: TimeoutOptions & { maxAge?: number },
  options: { limit?: number; acceptedAt?: number } = {},
): Simulated {
  const transport = new SimulatedTransport();
  const ends: (Error | null)[] = [];
  const stream = new Stream(transport, {
    ...options,
    timeouts: checkConnectionTimeouts('simulate', timeouts, { age: true }),
    owner: { streamClosed: (error) => ends.push(error) },
  });
  return { stream, transport, ends };
}

/** Runs everything that can run without the event loop: microtasks, and ticks, in which a writer sends the rest of its turn. */
export async function settle(): Promise<void> {
  await new Promise<void>((resolve) => process.nextTick(resolve));
}

/** The code of the timeout that ended a connection; null while it is open, or if it ended otherwise. */
export function codeOf({ ends }: Simulated): string | null {
  const [end] = ends;
  return end instanceof TimeoutError ? end.code : null;
}
