/** Two connected streams over each transport. */
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import type { ExecutionContext } from 'ava';
import { StreamServer, UnixStreamServer, connect, connectUnix, streampair, type Stream } from 'sluice';
import { certificates, trust } from '../certificates.js';
import { directory } from '../fifo.js';
import { deferred, portOf } from '../loopback.js';

/** A client's stream, and the server's stream of the same connection. The handler of the server has settled. */
export type Connected = [client: Stream, server: Stream];

export interface Kind {
  readonly name: string;
  connected(t: ExecutionContext): Promise<Connected>;
}

async function overTcp(t: ExecutionContext, version: 'TLSv1.2' | 'TLSv1.3' | null): Promise<Connected> {
  const { server: identity } = await certificates();
  const accepted = deferred<Stream>();
  const ssl = version === null ? undefined : { ...identity, maxVersion: version };
  const server = new StreamServer((stream) => accepted.resolve(stream), '127.0.0.1', 0, { ssl });
  t.teardown(() => server.abort());
  await server.startServing();
  const client = await connect('127.0.0.1', portOf(server), { ssl: version === null ? undefined : await trust() });
  return [client, await accepted.promise];
}

async function overUnix(t: ExecutionContext): Promise<Connected> {
  const path = join(directory(t), 'socket');
  const accepted = deferred<Stream>();
  const server = new UnixStreamServer((stream) => accepted.resolve(stream), path);
  t.teardown(() => server.abort());
  await server.startServing();
  const client = await connectUnix(path);
  return [client, await accepted.promise];
}

async function overDuplexes(): Promise<Connected> {
  const [near, far] = duplexPair();
  return [await connect({ sock: near }), await connect({ sock: far, serverSide: true })];
}

const kinds: [name: string, make: (t: ExecutionContext) => Promise<Connected>][] = [
  ['TCP', (t) => overTcp(t, null)],
  ['TLS 1.3', (t) => overTcp(t, 'TLSv1.3')],
  ['TLS 1.2', (t) => overTcp(t, 'TLSv1.2')],
  ['a Unix socket', overUnix],
  ['a Duplex', overDuplexes],
  ['memory', () => Promise.resolve(streampair())],
];

/** The streams are aborted when the test is over. */
export const KINDS: readonly Kind[] = kinds.map(([name, make]) => ({
  name,
  async connected(t) {
    const streams = await make(t);
    t.teardown(() => Promise.all(streams.map((stream) => stream.abort())));
    return streams;
  },
}));

/** The same over TCP, for tests of what does not depend on the transport. */
export const tcp = (t: ExecutionContext): Promise<Connected> => KINDS[0]!.connected(t);
