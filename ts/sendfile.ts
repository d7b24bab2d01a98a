/**
 * Sending a file: read into one block of memory, which is written and, once the kernel has it, read into again.
 *
 * Node shows no `sendfile(2)`, so the bytes are always copied through this process; what is constant is the memory.
 */
import { fstat, read, type Stats } from 'node:fs';
import { constants, open, readFile, type FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { StateError, invalidType, outOfRange } from './errors.js';
import { unlessAborted, type WaitOptions } from './waiting.js';
import { reserve, type StreamWriter } from './writer.js';

/** How much of the file is read and sent at once, in bytes. */
const BLOCK_BYTES = 131072;

/** What `sendfile` takes besides the file and the part of it. */
export interface SendfileOptions extends WaitOptions {
  /** Whether the bytes may be copied where no system call sends them: always so on Node. Default true. asyncio: `fallback` */
  fallback?: boolean | undefined;
  /** Ends the sending: what was sent stays sent, the stream stays usable. */
  signal?: AbortSignal | undefined;
}

/** A file by its path, or one that is open already. */
export type SendfileSource = string | URL | FileHandle | number;

/** What is asked of a file, whoever opened it. */
interface Source {
  readonly fd: number;
  stat(): Promise<Stats>;
  read(block: Buffer, length: number, position: number | null): Promise<{ bytesRead: number }>;
  close(): Promise<void>;
}

const statOf = promisify(fstat);
const readOf = promisify(read);

/** See `Stream.sendfile`. */
export async function sendfile(
  writer: StreamWriter,
  file: SendfileSource,
  offset = 0,
  count?: number,
  options: SendfileOptions = {},
): Promise<number> {
  checkSource(file);
  checkPart(offset, count);
  const signal = checkOptions(options);
  signal?.throwIfAborted();
  // Before anything is awaited: what is written after this call comes after the file.
  const place = reserve(writer, 'sendfile');
  try {
    const source = await opened(file);
    try {
      await checkRegular(source);
      await unlessAborted(signal, place.ready);
      const most = count ?? Number.POSITIVE_INFINITY;
      const block = Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, most));
      // A read without a position moves that of the file along, and nothing else in Node does.
      const moves = typeof file !== 'string' && !(file instanceof URL) && (await position(source.fd)) === offset;
      let sent = 0;
      while (sent < most) {
        const length = Math.min(block.length, most - sent);
        const { bytesRead } = await source.read(block, length, moves ? null : offset + sent);
        if (bytesRead === 0) break;
        signal?.throwIfAborted();
        await unlessAborted(signal, place.send(block.subarray(0, bytesRead)));
        sent += bytesRead;
      }
      return sent;
    } finally {
      await source.close();
    }
  } finally {
    place.release();
  }
}

function checkSource(file: unknown): asserts file is SendfileSource {
  if (typeof file === 'string' || file instanceof URL || isHandle(file)) return;
  if (typeof file !== 'number') throw invalidType('sendfile', 'file', 'a path, a URL, a FileHandle or an fd', file);
  if (!Number.isInteger(file) || file < 0 || file > 0x7fffffff) {
    throw outOfRange('sendfile', 'file', 'an fd, an integer from 0 to 2147483647', file);
  }
}

function isHandle(file: unknown): file is FileHandle {
  if (typeof file !== 'object' || file === null) return false;
  const { fd, read, stat } = file as Record<string, unknown>;
  return typeof fd === 'number' && typeof read === 'function' && typeof stat === 'function';
}

function checkPart(offset: unknown, count: unknown): void {
  for (const [name, value, least] of [
    ['offset', offset, 0],
    ['count', count, 1],
  ] as const) {
    if (value === undefined && name === 'count') continue;
    if (typeof value !== 'number') throw invalidType('sendfile', name, 'an integer', value);
    if (!Number.isSafeInteger(value) || value < least) {
      throw outOfRange('sendfile', name, `an integer of ${least} or more`, value);
    }
  }
}

function checkOptions(options: unknown): AbortSignal | undefined {
  if (typeof options !== 'object' || options === null) throw invalidType('sendfile', 'options', 'an object', options);
  const { fallback = true, signal } = options as { fallback?: unknown; signal?: unknown };
  if (typeof fallback !== 'boolean') throw invalidType('sendfile', 'fallback', 'a boolean', fallback);
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidType('sendfile', 'signal', 'an AbortSignal', signal);
  }
  if (!fallback) {
    const message = 'sendfile: Node has no system call for it, and fallback: false forbids to copy';
    throw new StateError('ERR_SENDFILE_NOT_AVAILABLE', message);
  }
  return signal;
}

async function opened(file: SendfileSource): Promise<Source> {
  if (typeof file === 'number') {
    return {
      fd: file,
      stat: () => statOf(file),
      read: (block, length, at) => readOf(file, block, 0, length, at),
      close: () => Promise.resolve(),
    };
  }
  const given = isHandle(file);
  // Without O_NONBLOCK to open a FIFO waits for somebody to write to it; on files it has no effect. Windows has none.
  const flags = constants.O_RDONLY | ((constants.O_NONBLOCK as number | undefined) ?? 0);
  const handle = given ? file : await open(file, flags);
  return {
    fd: handle.fd,
    stat: () => handle.stat(),
    read: (block, length, at) => handle.read(block, 0, length, at),
    close: () => (given ? Promise.resolve() : handle.close()),
  };
}

async function checkRegular(source: Source): Promise<void> {
  const stats = await source.stat();
  if (stats.isFile()) return;
  if (stats.isDirectory()) {
    throw Object.assign(new Error('EISDIR: sendfile: file is a directory'), { code: 'EISDIR', syscall: 'sendfile' });
  }
  const message = 'sendfile: file must be a regular file, not a pipe, a socket or a device';
  throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_FD_TYPE' });
}

/** Where the next read without a position begins, or null where the system does not tell: all but Linux. */
async function position(fd: number): Promise<number | null> {
  if (process.platform !== 'linux') return null;
  const facts = await readFile(`/proc/self/fdinfo/${fd}`, 'latin1').catch(() => '');
  const found = /^pos:\s*(\d+)$/m.exec(facts)?.[1];
  return found === undefined ? null : Number(found);
}
