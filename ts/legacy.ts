/**
 * The asyncio functions that return a pair of reader and writer instead of one stream, for programs that are being ported.
 *
 * The two halves belong to one {@link Stream}, and each of them keeps it alive: as long as one half is in use, the pair is not
 * garbage collected. The writer closes the pair.
 *
 *     SLUICE_DEP0001   openConnection       use connect
 *     SLUICE_DEP0002   startServer          use new StreamServer
 *     SLUICE_DEP0003   openUnixConnection   use connectUnix
 *     SLUICE_DEP0004   startUnixServer      use new UnixStreamServer
 */
import { checkBoolean, checkObject, checkOptionNames } from './checks.js';
import { connect, type ConnectOptions, type ConnectSockOptions } from './connect/connect.js';
import { connectUnix, type ConnectUnixOptions } from './connect/unix.js';
import { invalidType } from './errors.js';
import type { StreamReader } from './reader/reader.js';
import { LEAVE_OPEN, isThenable } from './server/client.js';
import type { ClientHandler } from './server/options.js';
import {
  StreamServer,
  UnixStreamServer,
  type StreamServerOptions,
  type UnixStreamServerOptions,
} from './server/server.js';
import { streamSide, type Stream } from './stream/stream.js';
import type { StreamWriter } from './writer/writer.js';

/** The two halves of a connection. */
export type StreamPair = [reader: StreamReader, writer: StreamWriter];

/**
 * Called for each connection of a server that works with pairs. The pair stays open when the callback returns, or when the
 * promise of an async callback resolves, until its writer is closed. If the callback throws or rejects, the connection is aborted
 * and the error is reported through `onError`.
 */
export type ClientConnectedCallback = (reader: StreamReader, writer: StreamWriter) => void | PromiseLike<void>;

/** The options of {@link startServer} in addition to those of a {@link StreamServer}. */
export interface StartServingOptions {
  /** Whether to start serving at once. If false, call `server.startServing()` later. Default true. asyncio: `start_serving` */
  startServing?: boolean | undefined;
}

/**
 * Connects to a TCP server, as {@link connect} does, with the same arguments and errors.
 *
 * ```ts
 * const [reader, writer] = await openConnection('127.0.0.1', 8888);
 * writer.write('hello\n');
 * console.log((await reader.readline()).toString());
 * await writer.close();
 * ```
 *
 * asyncio: `open_connection`
 *
 * @deprecated `SLUICE_DEP0001`. Use {@link connect}: a `Stream` can do everything that the pair can, and `await using` closes it.
 */
export function openConnection(host: string, port: number, options?: ConnectOptions): Promise<StreamPair>;
/** @deprecated `SLUICE_DEP0001`. Use {@link connect}. */
export function openConnection(options: ConnectSockOptions): Promise<StreamPair>;
export async function openConnection(...args: unknown[]): Promise<StreamPair> {
  deprecated('openConnection', 'connect', 'SLUICE_DEP0001');
  const stream = await connect(...(args as Parameters<typeof connect>));
  return streamSide(stream).halves;
}

/**
 * Starts a TCP server that passes each connection to a callback as a pair. Waits until the server listens, and resolves with it.
 *
 * ```ts
 * const server = await startServer(
 *   async (reader, writer) => {
 *     writer.write(await reader.readline());
 *     await writer.close();
 *   },
 *   '127.0.0.1',
 *   8888,
 * );
 * await server.serveForever();
 * ```
 *
 * The arguments and errors are those of `new StreamServer` and its `startServing`, or, with `startServing: false`, its `bind`.
 * asyncio: `start_server`
 *
 * @deprecated `SLUICE_DEP0002`. Use {@link StreamServer}: it closes each stream when its handler has settled.
 */
export async function startServer(
  clientConnectedCb: ClientConnectedCallback,
  host: string | readonly (string | null)[] | null = null,
  port = 0,
  options: StreamServerOptions & StartServingOptions = {},
): Promise<StreamServer> {
  deprecated('startServer', 'StreamServer', 'SLUICE_DEP0002');
  const [startServing, rest] = split('startServer', options);
  return started(new StreamServer(handler('startServer', clientConnectedCb), host, port, rest), startServing);
}

/**
 * Connects to a Unix socket, as {@link connectUnix} does, with the same arguments and errors. See {@link openConnection}.
 *
 * asyncio: `open_unix_connection`
 *
 * @deprecated `SLUICE_DEP0003`. Use {@link connectUnix}.
 */
export function openUnixConnection(path: string | URL, options?: ConnectUnixOptions): Promise<StreamPair>;
/** @deprecated `SLUICE_DEP0003`. Use {@link connectUnix}. */
export function openUnixConnection(options: ConnectSockOptions): Promise<StreamPair>;
export async function openUnixConnection(...args: unknown[]): Promise<StreamPair> {
  deprecated('openUnixConnection', 'connectUnix', 'SLUICE_DEP0003');
  const stream = await connectUnix(...(args as Parameters<typeof connectUnix>));
  return streamSide(stream).halves;
}

/**
 * Starts a server on a Unix socket that passes each connection to a callback as a pair. See {@link startServer}.
 *
 * The arguments and errors are those of `new UnixStreamServer` and its `startServing`. asyncio: `start_unix_server`
 *
 * @deprecated `SLUICE_DEP0004`. Use {@link UnixStreamServer}.
 */
export async function startUnixServer(
  clientConnectedCb: ClientConnectedCallback,
  path?: string | URL | null,
  options: UnixStreamServerOptions & StartServingOptions = {},
): Promise<UnixStreamServer> {
  deprecated('startUnixServer', 'UnixStreamServer', 'SLUICE_DEP0004');
  const [startServing, rest] = split('startUnixServer', options);
  return started(new UnixStreamServer(handler('startUnixServer', clientConnectedCb), path, rest), startServing);
}

/** A stream handler that calls a callback for pairs. */
function handler(action: string, callback: ClientConnectedCallback): ClientHandler {
  if (typeof callback !== 'function') throw invalidType(action, 'clientConnectedCb', 'a function', callback);
  return (stream: Stream) => {
    const result: unknown = callback(...streamSide(stream).halves);
    return isThenable(result) ? leftOpen(result) : undefined;
  };
}

async function leftOpen(result: PromiseLike<unknown>): Promise<never> {
  await result;
  return LEAVE_OPEN as never;
}

/** Separates the option of these functions from those of the server. */
function split<T extends object>(action: string, options: T & StartServingOptions): [boolean, T] {
  checkObject(action, 'options', options);
  checkOptionNames(action, options);
  const { startServing = true, ...rest } = options;
  checkBoolean(action, 'startServing', startServing);
  return [startServing, rest as unknown as T];
}

async function started<S extends { startServing(): Promise<void>; bind(): Promise<void> }>(
  server: S,
  startServing: boolean,
): Promise<S> {
  if (startServing) await server.startServing();
  else await server.bind();
  return server;
}

const warned = new Set<string>();

/** Emits a warning for the first call of a function. */
function deprecated(name: string, instead: string, code: string): void {
  if (warned.has(code)) return;
  warned.add(code);
  process.emitWarning(`${name} is deprecated: use ${instead}`, {
    type: 'DeprecationWarning',
    code,
  });
}
