/**
 * Listening on a Unix socket, and the file of it.
 *
 * Node takes the file away when its listener closes, whosever it is by then. So the listener is bound under a passing name in the same
 * directory, and linked to its own name when it listens already:
 *
 *     bind, listen   .k3x9q0ab
 *     link           .k3x9q0ab -> service.sock    fails where there is a file: nothing is ever overwritten
 *     unlink         .k3x9q0ab
 *
 * That is also why nobody ever sees a socket under that name that refuses connections, other than a stale one.
 *
 * A mode is set before any client can connect, which is between the two calls that Node makes of one. So the socket is bound in a
 * directory of its own then, which only the owner may enter. (A umask would apply to all files that the process makes meanwhile.)
 *
 *     mkdir           .k3x9q0      0o700
 *     bind, listen    .k3x9q0/s
 *     chmod           .k3x9q0/s
 *     link, unlink    .k3x9q0/s -> service.sock
 *     rmdir           .k3x9q0
 *
 *     the file there is    a socket that refuses connections    stale when it is a second old: replaced
 *                          a socket that anybody listens on     EADDRINUSE
 *                          anything else                        EADDRINUSE
 *
 * Without a file: abstract names, the named pipes of Windows. A worker of a cluster leaves the file to the primary.
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

/** How often others may come in between before the address counts as taken. */
const TRIES = 20;

/**
 * How old a socket has to be, in ms, to be stale when it refuses connections: a younger one may be bound and about to listen. In
 * a cluster without a schedule these are steps of two processes.
 */
const LISTEN_MS = 1000;

/** After how long a young one is looked at again, in ms. */
const LOOK_AGAIN_MS = 50;

/** The length of a passing name, where the path of the socket leaves room for it. */
const NAME_LENGTH = 9;

/** The longest path of a socket that every system takes. */
const MAX_PATH_BYTES = 103;

const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** The codes of a directory in which files cannot have two names. */
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/** Where a Unix server listens. */
export interface UnixPlace {
  /** A path that was checked. */
  readonly file: string;
  readonly backlog: number;
  /** The permissions of the file; null: those that the umask leaves. Only where {@link whyNoMode} gives no reason against it. */
  readonly mode: number | null;
}

/** Why the permissions of a socket cannot be set: there is no file, or it is made by another process; null where they can be. */
export function whyNoMode(file: string): string | null {
  if (file.startsWith('\0')) return 'with an abstract name, which has no file';
  if (process.platform === 'win32') return 'with a named pipe, which has no file';
  if (cluster.isWorker) return 'in a worker of node:cluster: the primary makes the file, and its umask decides';
  return null;
}

/** Listens on a path that was checked. */
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
 * In a worker of a cluster: the primary has the socket, and all workers share it. It shares what was asked for equally often: a
 * worker that has failed once would ask for a socket of its own. So a stale file is looked for before, by connecting to it.
 */
async function listenShared(file: string, backlog: number, accepting: Accepting): Promise<Listening> {
  let refused: unknown = null;
  try {
    await removeStale(file);
  } catch (error) {
    // It may be of another worker, which only the primary knows.
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
  // The working directory may be another one when the file is removed.
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
        // A directory that may not be written to any more: the file stays, and is stale.
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

/** A listener under a passing name next to `file`, or in a directory of that name, and the absolute path of the socket. */
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

/** A directory that only its owner may enter. */
function makeDirectory(directory: string): void {
  mkdirSync(directory, { mode: 0o700 });
  const { mode } = statSync(directory);
  // What a umask has taken from the owner. The bit that hands the group of the directory above on to what is made in it stays.
  if ((mode & 0o700) !== 0o700) chmodSync(directory, (mode & 0o7777) | 0o700);
}

function removeDirectory(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Another process has put something in it, or removed it.
  }
}

/**
 * A name in the directory of a file: not longer than the name of that where the directory leaves no more room.
 *
 * @param inside - how many bytes there must be room for after the name
 */
function passingName(file: string, inside = 0): string {
  const own = path.basename(file);
  const bytes = Buffer.byteLength(own);
  const room = MAX_PATH_BYTES - (Buffer.byteLength(file) - bytes);
  const length = Math.min(NAME_LENGTH, Math.max(room, bytes) - inside);
  if (length < 1) {
    const words = `name too long: mode takes a name of ${inside + 1} bytes at least in so long a directory`;
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

/** Gives the socket its name. */
async function place(passing: string, file: string): Promise<void> {
  for (let tries = TRIES; tries > 0; tries--) {
    if (link(passing, file)) return;
    await removeStale(file);
  }
  throw inUse(file, 'others keep taking it');
}

/** @returns false where there is a file of that name */
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

/** Removes a socket that nobody listens on; anything else is refused. */
async function removeStale(file: string): Promise<void> {
  const start = Date.now();
  for (;;) {
    const found = exists(file);
    if (found === null) return;
    if (!found.isSocket()) throw inUse(file, `it is ${kindOf(found)}, not a socket`);
    if (await isLive(file)) throw inUse(file, 'another server listens on it');
    const now = Date.now();
    // The waiting counts as well: a file may be dated in the future.
    if (Math.max(now - Number(found.mtimeMs), now - start) >= LISTEN_MS) {
      // A socket that has replaced it meanwhile may have got its inode.
      if (exists(file)?.ctimeNs === found.ctimeNs) removeIf(file, found);
      return;
    }
    await setTimeout(LOOK_AGAIN_MS);
  }
}

/** Whether anybody listens: so it is unless the system says that nobody does. */
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

/** Removes a file if it is the one expected; one that has just taken its place is put back. */
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

/** The time is that of the bind, whatever its name is by now: an inode alone may have been given to another file. */
function same(one: BigIntStats, other: BigIntStats): boolean {
  return one.dev === other.dev && one.ino === other.ino && one.mtimeNs === other.mtimeNs;
}

function statsOf(file: string): BigIntStats {
  return lstatSync(file, { bigint: true });
}

function exists(file: string): BigIntStats | null {
  return lstatSync(file, { bigint: true, throwIfNoEntry: false }) ?? null;
}

/** Node says that permission is denied where the directory does not exist. */
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
