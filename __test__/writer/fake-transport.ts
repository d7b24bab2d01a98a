import { StreamMode, type Transport, type TransportSink } from '#ts/transports/transport.js';
import { StreamWriter } from '#ts/writer/writer.js';

/** A transport without a network. It accepts everything or, while clogged, nothing. */
export class FakeTransport implements Transport {
  readonly mode = StreamMode.READWRITE;
  canWriteEof = true;
  isClosing = false;
  clogged = false;
  /** The calls, and the size of each batch among them. */
  readonly calls: string[] = [];
  readonly batches: { pieces: number; bytes: number }[] = [];
  readonly taken: Buffer[] = [];
  /** The pieces as the transport got them. */
  readonly pieces: Uint8Array[] = [];
  #pending: { pieces: readonly Uint8Array[]; done: () => void } | null = null;

  get pendingBytes(): number {
    return this.#pending?.pieces.reduce((sum, piece) => sum + piece.length, 0) ?? 0;
  }

  get text(): string {
    return Buffer.concat(this.taken).toString();
  }

  write(data: Uint8Array, done: () => void): boolean {
    return this.writev([data], done);
  }

  writev(pieces: readonly Uint8Array[], done: () => void): boolean {
    if (this.#pending !== null) throw new Error('a second batch in flight');
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    this.batches.push({ pieces: pieces.length, bytes });
    this.calls.push(`write ${bytes}`);
    this.pieces.push(...pieces);
    if (this.clogged || this.isClosing) {
      this.#pending = { pieces, done };
      return false;
    }
    this.taken.push(...pieces.map((piece) => Buffer.from(piece)));
    return true;
  }

  /** The kernel accepts the pending batch. Its bytes are copied only now, as by the kernel. */
  unclog(stay = false): void {
    this.clogged = stay;
    const pending = this.#pending;
    this.#pending = null;
    if (pending === null) return;
    this.taken.push(...pending.pieces.map((piece) => Buffer.from(piece)));
    pending.done();
  }

  writeEof(): void {
    this.calls.push('eof');
  }

  /** The time that the writer announced for the peer to read. */
  closeTimeout: number | null = null;

  expectClose(timeout: number): void {
    this.closeTimeout = timeout;
  }

  close(): void {
    this.isClosing = true;
    this.calls.push('close');
  }

  /** The reason that the writer aborted with. */
  abortReason: Error | undefined;

  abort(reason?: Error): void {
    this.isClosing = true;
    this.abortReason = reason;
    this.calls.push('abort');
  }

  getExtraInfo(name: string): unknown {
    return name === 'peername' ? 'nobody' : undefined;
  }

  start(_sink: TransportSink): void {
    throw new Error('not part of writing');
  }

  pauseReading(): void {
    throw new Error('not part of writing');
  }

  resumeReading(): void {
    throw new Error('not part of writing');
  }

  ref(): void {
    throw new Error('not part of writing');
  }

  unref(): void {
    throw new Error('not part of writing');
  }
}

/** A writer over such a transport. */
export function make(clogged = false): { transport: FakeTransport; writer: StreamWriter } {
  const transport = new FakeTransport();
  transport.clogged = clogged;
  return { transport, writer: new StreamWriter(transport) };
}
