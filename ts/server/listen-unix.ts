/**
 * Listens on a Unix socket and manages its file.
 *
 * When Node closes a listener, it removes the file at the listener's path, even if another process has replaced it. Therefore the
 * listener is bound under a temporary name in the same directory. Once it listens, the file is linked to its final name:
 *
 *     bind, listen   .k3x9q0ab
 *     link           .k3x9q0ab -> service.sock    fails if the file exists: nothing is ever overwritten
 *     unlink         .k3x9q0ab
 *
 * This also guarantees that a socket under the final name never refuses connections, unless it is stale.
 *
 * A mode has to be set before any client can connect, which means between the bind and the listen that Node does in one call.
 * Therefore, with a mode, the socket is bound inside a temporary directory that only the owner can enter. (A umask would apply to
 * every file that the process creates in the meantime.)
 *
 *     mkdir           .k3x9q0      0o700
 *     bind, listen    .k3x9q0/s
 *     chmod           .k3x9q0/s
 *     link, unlink    .k3x9q0/s -> service.sock
 *     rmdir           .k3x9q0
 *
 *     the existing file    a socket that refuses connections     stale once it is a second old: replaced
 *                          a socket on which a process listens   EADDRINUSE
 *                          anything else                         EADDRINUSE
 *
 * Abstract names and the named pipes of Windows have no file. In a worker of a cluster, the primary manages the file.
 */
import cluster from 'node:cluster';
import { randomInt } from 'node:crypto';
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
  type BigIntStats,
} from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ConnectionError, codeOf, showUnixPath } from '../errors.js';
import { bindError } from '../system-errors.js';
import { kindOf } from '../transports/fd.js';
import { makeListener, startListening, type Accepting, type Listening } from './listen.js';

/** The address counts as in use after this many attempts in which another process interfered. */
const TRIES = 20;

/**
 * The age, in ms, from which a socket that refuses connections is stale. A younger one may be bound and about to listen: in a
 * cluster with `SCHED_NONE`, two processes take these two steps.
 */
const LISTEN_MS = 1000;

/** The interval, in ms, between two checks of such a young socket. */
const LOOK_AGAIN_MS = 50;

/** The length of a temporary name, if the maximum length of a path allows it. */
const NAME_LENGTH = 9;

/** The longest path of a socket that every system accepts. */
const MAX_PATH_BYTES = 103;

const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** The error codes of a file system that does not support hard links. */
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/** Where a Unix server listens. */
export interface UnixPlace {
  /** The checked path. */
  readonly file: string;
  readonly backlog: number;
  /** The permissions of the file, or null for those that the umask leaves. Must be null if {@link whyNoMode} returns a reason. */
  readonly mode: number | null;
}

/**
 * Why the permissions of a socket cannot be set: it has no file, or another process creates the file. Null if they can be set.
 */
export function whyNoMode(file: string): string | null {
  if (file.startsWith('\0')) return 'with an abstract name, which has no file';
  if (process.platform === 'win32') return 'with a named pipe, which has no file';
  if (cluster.isWorker) return 'in a worker of node:cluster: the primary makes the file, and its umask decides';
  return null;
}

/** Listens on a path that has been checked. */
export async function listenUnix({ file, backlog, mode }: UnixPlace, accepting: Accepting): Promise<Listening> {
  const hasFile = !file.startsWith('\0') && process.platform !== 'win32';
  if (!hasFile) return listenAs(file, file, backlog, accepting);
  try {
    return cluster.isWorker
      ? await listenShared(file, backlog, accepting)
      : await listenLinked({ file, backlog, mode }, accepting);
  } catch (error) {
    throw bindError(missingDirectory(file, error) ?? error, file);
  }
}

function listenAs(name: string, file: string, backlog: number, accepting: Accepting): Promise<Listening> {
  return startListening(makeListener(accepting, file), { path: name, backlog }, showUnixPath(file), accepting);
}

/**
 * Listens in a worker of a cluster, where the primary owns the socket and all workers share it. Node counts how often each worker
 * requests an address, and shares a socket only among requests with the same count: a worker whose first request failed would get
 * its own socket the next time. So a stale file must be removed before the first request.
 */
async function listenShared(file: string, backlog: number, accepting: Accepting): Promise<Listening> {
  let refused: unknown = null;
  try {
    await removeStale(file);
  } catch (error) {
    // The socket may belong to another worker. Only the primary knows.
    refused = error;
  }
  try {
    return await listenAs(file, file, backlog, accepting);
  } catch (error) {
    throw codeOf(error) === 'EADDRINUSE' ? (refused ?? error) : error;
  }
}

async function listenLinked(target: UnixPlace, accepting: Accepting): Promise<Listening> {
  const { file, mode } = target;
  // The working directory may have changed by the time the file is removed.
  const absolute = path.resolve(file);
  const [listening, passing] = await listenPassing(target, accepting);
  try {
    if (mode !== null) chmodSync(passing, mode);
    const ours = statsOf(passing);
    await place(passing, absolute);
    const { server } = listening;
    server.address = () => file;
    const close = (): void => {
      try {
        removeIf(absolute, ours);
      } catch {
        // The directory has become read-only: a stale file remains.
      }
      listening.close();
    };
    return { server, close };
  } catch (error) {
    listening.close();
    throw error;
  } finally {
    if (mode !== null) removeDirectory(path.dirname(passing));
  }
}

/** A listener with a temporary name next to `file`, or in a temporary directory, and the absolute path of its socket. */
async function listenPassing({ file, backlog, mode }: UnixPlace, accepting: Accepting): Promise<[Listening, string]> {
  const inside = mode === null ? '' : `${path.sep}s`;
  for (let tries = TRIES; ; tries--) {
    const name = passingName(file, inside.length);
    const directory = mode === null ? null : path.resolve(name);
    const passing = path.resolve(name + inside);
    try {
      if (directory !== null) makeDirectory(directory);
      return [await listenAs(name + inside, file, backlog, accepting), passing];
    } catch (error) {
      const taken = codeOf(error) === (directory === null ? 'EADDRINUSE' : 'EEXIST');
      if (directory !== null && !taken) removeDirectory(directory);
      if (!taken || tries === 1) throw error;
    }
  }
}

/** Creates a directory that only its owner can enter. */
function makeDirectory(directory: string): void {
  mkdirSync(directory, { mode: 0o700 });
  const { mode } = statSync(directory);
  // Restores the owner's permissions if the umask removed them. The set-group-ID bit, if inherited from the parent directory,
  // stays.
  if ((mode & 0o700) !== 0o700) chmodSync(directory, (mode & 0o7777) | 0o700);
}

function removeDirectory(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Another process created a file in it, or removed it.
  }
}

/**
 * A random name in the directory of a file. If the directory leaves little room, the name is no longer than that of the file.
 *
 * @param inside - how many bytes must still fit after the name
 */
function passingName(file: string, inside = 0): string {
  const own = path.basename(file);
  const bytes = Buffer.byteLength(own);
  const room = MAX_PATH_BYTES - (Buffer.byteLength(file) - bytes);
  const length = Math.min(NAME_LENGTH, Math.max(room, bytes) - inside);
  if (length < 1) {
    const words = `name too long: in a directory with so long a path, mode requires a name of at least ${inside + 1} bytes`;
    throw new ConnectionError('ENAMETOOLONG', `bind ${file}: ${words}`);
  }
  const letters = Array.from({ length }, anyLetter);
  if (letters.length > 1) letters[0] = '.';
  const name = letters.join('');
  return name === own ? passingName(file, inside) : path.join(path.dirname(file), name);
}

function anyLetter(): string {
  return LETTERS.charAt(randomInt(LETTERS.length));
}

/** Links the socket to its final name. */
async function place(passing: string, file: string): Promise<void> {
  for (let tries = TRIES; tries > 0; tries--) {
    if (link(passing, file)) return;
    await removeStale(file);
  }
  throw inUse(file, 'other processes keep claiming it');
}

/** @returns false if the file `to` exists */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    unlinkSync(from);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    if (!NO_LINKS.has(codeOf(error))) throw error;
    if (exists(to)) return false;
    renameSync(from, to);
    return true;
  }
}

/** Removes a socket on which no process listens. Throws for any other file. */
async function removeStale(file: string): Promise<void> {
  const start = Date.now();
  for (;;) {
    const found = exists(file);
    if (found === null) return;
    if (!found.isSocket()) throw inUse(file, `it is ${kindOf(found)}, not a socket`);
    if (await isLive(file)) throw inUse(file, 'another server listens on it');
    const now = Date.now();
    // The time spent waiting counts too, because the file's timestamp may be in the future.
    if (Math.max(now - Number(found.mtimeMs), now - start) >= LISTEN_MS) {
      // If another socket has replaced it, that socket may have the same inode number.
      if (exists(file)?.ctimeNs === found.ctimeNs) removeIf(file, found);
      return;
    }
    await setTimeout(LOOK_AGAIN_MS);
  }
}

/** Whether a process listens on the socket. If the answer is not clear, yes. */
function isLive(file: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ path: file });
    socket.once('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => done(code !== 'ECONNREFUSED' && code !== 'ENOENT'));
  });
}

/** Removes a file if it is the expected one. If another file has just replaced it, that file is put back. */
function removeIf(file: string, expected: BigIntStats): void {
  const found = exists(file);
  if (found === null || !same(found, expected)) return;
  const aside = passingName(file);
  try {
    renameSync(file, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  if (same(statsOf(aside), expected) || !link(aside, file)) unlinkSync(aside);
}

/** Compares the time of the bind too, which renaming does not change: an inode number alone may have been reused. */
function same(one: BigIntStats, other: BigIntStats): boolean {
  return one.dev === other.dev && one.ino === other.ino && one.mtimeNs === other.mtimeNs;
}

function statsOf(file: string): BigIntStats {
  return lstatSync(file, { bigint: true });
}

function exists(file: string): BigIntStats | null {
  return lstatSync(file, { bigint: true, throwIfNoEntry: false }) ?? null;
}

/** Node reports EACCES if the directory does not exist. Returns the real error. */
function missingDirectory(file: string, error: unknown): unknown {
  if (codeOf(error) !== 'EACCES') return null;
  try {
    statSync(path.dirname(file));
    return null;
  } catch (missing) {
    return missing;
  }
}

function inUse(file: string, reason: string): ConnectionError {
  return new ConnectionError('EADDRINUSE', `bind ${file}: address already in use: ${reason}`);
}
