/**
 * Sends a file: reads a part into one block of memory, writes it, and reuses the block when the kernel has accepted it.
 *
 * Node does not offer `sendfile(2)`, so the bytes are always copied through this process, in constant memory. Every read names its
 * position, so that the position of an open file is moved only once, at the end.
 */
import { fstat, read, type Stats } from 'node:fs';
import { constants, open, readFile, type FileHandle } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { checkedWait, unlessAborted, withinTime, type WaitOptions } from '../abort.js';
import { checkBoolean, checkFd, checkInteger } from '../checks.js';
import { seek } from '../system-calls.js';
import { StateError, coded, invalidType, outOfRange } from '../errors.js';
import { systemWords } from '../system-errors.js';
import { kindOf } from '../transports/fd.js';
import type { Reservation } from '../writer/reservation.js';
import type { WriterOutlet } from '../writer/writer.js';

/** How many bytes of the file are read and sent at once. */
const BLOCK_BYTES = 131072;

/** Options of `Stream.sendfile`. */
export interface SendfileOptions extends WaitOptions {
  /** Whether the bytes may be copied if no system call can send them, which is always the case on Node. Default true. asyncio: `fallback` */
  fallback?: boolean | undefined;
  /** Ends the sending. The bytes sent so far stay sent, and the stream stays usable. */
  signal?: AbortSignal | undefined;
}

/** An open file. */
type OpenSource = FileHandle | number;

/** A file by its path or URL, or an open file. */
export type SendfileSource = string | URL | OpenSource;

/** A file, opened here or by the caller. */
interface Source {
  /** The current descriptor: -1 after a `FileHandle` was closed. */
  readonly fd: number;
  stat(): Promise<Stats>;
  read(block: Buffer, length: number, position: number | null): Promise<{ bytesRead: number }>;
  close(): Promise<void>;
}

/** The part of the file to send. */
interface Part {
  readonly offset: number;
  readonly count: number | undefined;
}

const statOf = promisify(fstat);
const readOf = promisify(read);

/** See `Stream.sendfile`. @internal */
export async function sendfile(
  writer: WriterOutlet,
  wanted: SendfileSource,
  offset = 0,
  count?: number,
  options: SendfileOptions = {},
): Promise<number> {
  const file = checkSource(wanted);
  checkPart(offset, count);
  const wait = checkOptions(options);
  return withinTime('sendfile', wait, (signal) => sendPart(writer, file, { offset, count }, signal));
}

async function sendPart(
  writer: WriterOutlet,
  file: OpenSource | string,
  part: Part,
  signal: AbortSignal | undefined,
): Promise<number> {
  signal?.throwIfAborted();
  // Before anything is awaited, so that later writes come after the file.
  const reservation = writer.reserve('sendfile');
  try {
    const source = await opened(file).catch((error: unknown) => refused(file, part, 0, error));
    try {
      await checkRegular(file, part, source);
      await unlessAborted(signal, reservation.ready);
      return await send(reservation, file, part, source, signal);
    } finally {
      await source.close();
    }
  } finally {
    reservation.end();
  }
}

async function send(
  reservation: Reservation,
  file: OpenSource | string,
  part: Part,
  source: Source,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { offset, count: most = Number.POSITIVE_INFINITY } = part;
  const block = Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, most));
  let sent = 0;
  try {
    while (sent < most) {
      const length = Math.min(block.length, most - sent);
      const { bytesRead } = await source
        .read(block, length, offset + sent)
        .catch((error: unknown) => refused(file, part, sent, error));
      if (bytesRead === 0) break;
      signal?.throwIfAborted();
      try {
        await unlessAborted(signal, reservation.send(block.subarray(0, bytesRead)));
      } catch (error) {
        // The signal ends the wait; the block in flight is still sent.
        if (signal?.aborted === true) sent += bytesRead;
        throw error;
      }
      sent += bytesRead;
    }
    return sent;
  } finally {
    if (sent > 0 && typeof file !== 'string') await leaveAt(source, offset + sent, block);
  }
}

function checkSource(file: unknown): OpenSource | string {
  if (typeof file === 'string') {
    if (file.includes('\0')) throw outOfRange('sendfile', 'file', 'a path without zero bytes', file);
    return file;
  }
  if (file instanceof URL) return pathOf(file);
  if (isHandle(file)) return file;
  if (typeof file !== 'number') throw invalidType('sendfile', 'file', 'a path, a URL, a FileHandle or an fd', file);
  return checkFd('sendfile', 'file', file);
}

function pathOf(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    const { code = 'ERR_INVALID_ARG_VALUE', message } = error as NodeJS.ErrnoException;
    throw coded(new TypeError(`sendfile: ${url.href}: ${message}`, { cause: error }), code);
  }
}

function isHandle(file: unknown): file is FileHandle {
  if (typeof file !== 'object' || file === null) return false;
  const { fd, read, stat } = file as Record<string, unknown>;
  return typeof fd === 'number' && typeof read === 'function' && typeof stat === 'function';
}

function checkPart(offset: unknown, count: unknown): void {
  checkInteger('sendfile', 'offset', offset, 0);
  if (count !== undefined) checkInteger('sendfile', 'count', count, 1);
}

function checkOptions(options: SendfileOptions): WaitOptions | undefined {
  const wait = checkedWait('sendfile', options);
  const { fallback = true } = options;
  checkBoolean('sendfile', 'fallback', fallback);
  if (!fallback) {
    const message = 'sendfile: Node offers no system call for this, and fallback: false forbids copying';
    throw new StateError('ERR_SENDFILE_NOT_AVAILABLE', message);
  }
  return wait;
}

async function opened(file: OpenSource | string): Promise<Source> {
  if (typeof file === 'number') {
    return {
      fd: file,
      stat: () => statOf(file),
      read: (block, length, at) => readOf(file, block, 0, length, at),
      close: () => Promise.resolve(),
    };
  }
  const given = isHandle(file);
  // Without O_NONBLOCK, opening a FIFO waits for a writer; on files it has no effect. Windows does not have the flag.
  const flags = constants.O_RDONLY | ((constants.O_NONBLOCK as number | undefined) ?? 0);
  const handle = given ? file : await open(file, flags);
  return {
    get fd() {
      return handle.fd;
    },
    stat: () => handle.stat(),
    read: (block, length, at) => handle.read(block, 0, length, at),
    close: () => (given ? Promise.resolve() : handle.close()),
  };
}

async function checkRegular(file: OpenSource | string, part: Part, source: Source): Promise<void> {
  const stats = await source.stat().catch((error: unknown) => refused(file, part, 0, error));
  if (stats.isFile()) return;
  const message = `sendfile: ${nameOf(file)} must be a regular file, not ${kindOf(stats)}`;
  if (stats.isDirectory()) throw Object.assign(coded(new Error(message), 'EISDIR'), { syscall: 'sendfile' });
  throw coded(new TypeError(message), 'ERR_INVALID_FD_TYPE');
}

// ---------------------------------------------------------------------------------------------- the position

/**
 * Moves the position of an open file to `target`, if possible: with the binary, or without it by reading up to `target` if the system
 * (Linux) reports that the position is before it. A file that was closed in the meantime has no position.
 */
async function leaveAt(source: Source, target: number, block: Buffer): Promise<void> {
  try {
    if (seek !== null) seek(source.fd, target);
    else await readUpTo(source, target, block);
  } catch {
    // The bytes were sent; only the position is not as documented.
  }
}

async function readUpTo(source: Source, target: number, block: Buffer): Promise<void> {
  let at = (await position(source.fd)) ?? target;
  // The block may still be in flight.
  const scratch = at < target ? Buffer.allocUnsafeSlow(block.length) : block;
  while (at < target) {
    const { bytesRead } = await source.read(scratch, Math.min(scratch.length, target - at), null);
    if (bytesRead === 0) return;
    at += bytesRead;
  }
}

/** Where the next read without a position begins; null if the system does not report it: only Linux does. */
async function position(fd: number): Promise<number | null> {
  if (process.platform !== 'linux') return null;
  const facts = await readFile(`/proc/self/fdinfo/${fd}`, 'latin1').catch(() => '');
  const found = /^pos:\s*(\d+)$/m.exec(facts)?.[1];
  return found === undefined ? null : Number(found);
}

// ---------------------------------------------------------------------------------------------- errors

/** Throws an error of the file system: `sendfile: fd 7, offset 0, count 10: bad file descriptor` */
function refused(file: OpenSource | string, { offset, count }: Part, sent: number, error: unknown): never {
  const { code = 'UNKNOWN', errno, syscall, path } = error as NodeJS.ErrnoException;
  const part = count === undefined ? `offset ${offset}` : `offset ${offset}, count ${count}`;
  const words = systemWords(error);
  // A file that was opened only for writing passes fstat, and fails to be read.
  const why = code === 'EBADF' && syscall === 'read' ? `it is not open for reading (${words})` : words;
  const after = sent === 0 ? '' : ` after ${sent} bytes`;
  const facts = { ...(errno === undefined ? {} : { errno }), ...(path === undefined ? {} : { path }) };
  const failure = coded(new Error(`sendfile: ${nameOf(file)}, ${part}: ${why}${after}`, { cause: error }), code);
  throw Object.assign(failure, facts, syscall === undefined ? {} : { syscall });
}

/** How messages name a file. */
function nameOf(file: OpenSource | string): string {
  if (typeof file === 'string') return file;
  const fd = typeof file === 'number' ? file : file.fd;
  return fd === -1 ? 'a closed FileHandle' : `fd ${fd}`;
}
