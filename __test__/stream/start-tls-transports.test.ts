/** startTls over other transports than TCP: Unix sockets, a Duplex, two pipes. */
// Runs once for each way of reading: an upgrade concerns the socket, not the ring.
import { once } from 'node:events';
import { Socket, connect as netConnect, createServer } from 'node:net';
import { Duplex, duplexPair } from 'node:stream';
import tls from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { ConnectionError, StateError, UnixStreamServer, connect, connectUnix, type Stream } from 'sluice';
import { certificates } from '../certificates.js';
import { directory, fifo, unixPath } from '../fifo.js';
import { deferred, quiet, turns, until } from '../loopback.js';

/** One end of a connection as a Node stream, unread so far. */
type Raw = Duplex;

interface Kind {
  readonly name: string;
  /** A stream of the client's side, and the other end. */
  client(t: ExecutionContext): Promise<{ stream: Stream; peer: Raw }>;
  /** A stream of the server's side, and the other end. */
  server(t: ExecutionContext): Promise<{ stream: Stream; peer: Raw }>;
  /** Both sides as streams. */
  both(t: ExecutionContext): Promise<{ client: Stream; server: Stream }>;
}

/** A Unix server, and the stream of its first connection. */
async function unixServer(t: ExecutionContext): Promise<{ path: string; accepted: Promise<Stream> }> {
  const accepted = deferred<Stream>();
  const path = unixPath(t);
  const server = new UnixStreamServer((stream) => accepted.resolve(stream), path);
  t.teardown(() => server.abort());
  await server.startServing();
  return { path, accepted: accepted.promise };
}

const unix: Kind = {
  name: 'a Unix socket',
  async client(t) {
    const path = unixPath(t);
    const accepted = deferred<Raw>();
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => accepted.resolve(socket));
    t.teardown(() => server.close());
    await once(server.listen(path), 'listening');
    const stream = await connectUnix(path);
    return { stream, peer: await accepted.promise };
  },
  async server(t) {
    const { path, accepted } = await unixServer(t);
    const peer = netConnect({ path, allowHalfOpen: true });
    return { stream: await accepted, peer };
  },
  async both(t) {
    const { path, accepted } = await unixServer(t);
    const client = await connectUnix(path);
    return { client, server: await accepted };
  },
};

/** A connection that Node knows nothing about: each side gets a plain `Duplex`. */
function over(name: string, pair: (t: ExecutionContext) => [Raw, Raw]): Kind {
  const serving = (sock: Raw): Promise<Stream> => connect({ sock, serverSide: true });
  return {
    name,
    async client(t) {
      const [near, peer] = pair(t);
      return { stream: await connect({ sock: near }), peer };
    },
    async server(t) {
      const [near, peer] = pair(t);
      return { stream: await serving(near), peer };
    },
    async both(t) {
      const [near, far] = pair(t);
      return { client: await connect({ sock: near }), server: await serving(far) };
    },
  };
}

/** Two named pipes in opposite directions. */
function pipes(t: ExecutionContext): [Raw, Raw] {
  const dir = directory(t);
  const [there, back] = [fifo(dir, 'there'), fifo(dir, 'back')];
  const end = (reader: number, writer: number): Raw => {
    const readable = new Socket({ fd: reader, writable: false });
    const writable = new Socket({ fd: writer, readable: false });
    // Node leaves the readable side open if the writable side finished first.
    t.teardown(() => [quiet(readable), quiet(writable)].map((socket) => socket.destroy()));
    return Duplex.from({ readable, writable });
  };
  return [end(back.reader, there.writer), end(there.reader, back.writer)];
}

const kinds: readonly Kind[] = [unix, over('a Duplex', () => duplexPair()), over('two pipes', pipes)];

/** The stream and its other end are destroyed when the test is over. */
function disposed<T extends { stream: Stream; peer: Raw }>(t: ExecutionContext, ends: T): T {
  quiet(ends.peer as never);
  t.teardown(async () => {
    ends.peer.destroy();
    await ends.stream.abort();
  });
  return ends;
}

/** Injected bytes make the upgrade reject, which closes the connection, and are gone. */
async function isRefused(t: ExecutionContext, stream: Stream, upgrade: Promise<void>): Promise<void> {
  const reason = await t.throwsAsync(upgrade, { instanceOf: StateError, code: 'ERR_TLS_PLAINTEXT_PENDING' });
  t.true(stream.isClosing());
  t.is(stream.buffered, 0);
  const loss = await t.throwsAsync(stream.readline(), { instanceOf: ConnectionError, code: 'ECONNABORTED' });
  t.is(loss?.cause, reason);
  await t.throwsAsync(stream.read(), { is: loss });
  t.is((await t.throwsAsync(stream.write('PASS secret\n'), { code: 'ECONNABORTED' }))?.cause, loss);
}

const serverHostname = 'localhost';
const LARGE = 3_000_000;

for (const kind of kinds) {
  test(`${kind.name}: an upgrade of both sides: plain before, encrypted after`, async (t) => {
    const { ca, server: identity } = await certificates();
    const { client, server } = await kind.both(t);
    t.teardown(() => Promise.all([client.abort(), server.abort()]));
    const serving = (async () => {
      t.is(String(await server.readline()), 'STARTTLS\n');
      await server.write('220 go ahead\n');
      await server.startTls(identity);
      for await (const line of server) await server.write(line);
    })();
    await client.write('STARTTLS\n');
    t.is(String(await client.readline()), '220 go ahead\n');
    t.is(client.getExtraInfo('cipher'), undefined);
    await client.startTls({ ca }, { serverHostname });
    t.truthy(client.getExtraInfo('cipher'));
    const body = `${'x'.repeat(60_000)}\n`;
    for (let i = 0; i < 40; i++) void client.write(body);
    for (let i = 0; i < 40; i++) t.is(String(await client.readline()), body);
    t.truthy(server.getExtraInfo('cipher'));
    await t.throwsAsync(client.startTls({ ca }, { serverHostname }), { instanceOf: StateError, code: 'ERR_TLS_STATE' });
    const closed = client.close();
    // The close arrives as EOF, not as a reset.
    await serving;
    const answered = server.close();
    await closed;
    // A connection in memory does not show it that the client is gone.
    await server.abort();
    await answered;
  });

  test(`${kind.name}: one side may start the handshake long before the other`, async (t) => {
    const { ca, server: identity } = await certificates();
    const { client, server } = await kind.both(t);
    t.teardown(() => Promise.all([client.abort(), server.abort()]));
    const serving = server.startTls(identity);
    await turns(20);
    await client.startTls({ ca }, { serverHostname });
    await serving;
    await client.write('hello\n');
    t.is(String(await server.readline()), 'hello\n');
  });

  test(`${kind.name}: earlier writes are sent in plain text first, by the client`, async (t) => {
    const { ca, server: identity } = await certificates();
    const { stream, peer } = disposed(t, await kind.client(t));
    const before = Buffer.concat([Buffer.alloc(LARGE, 'p'), Buffer.from('end of plain\n')]);
    void stream.write(before);
    const upgrade = stream.startTls({ ca }, { serverHostname });
    void stream.write('secret\n');
    await turns(20);
    t.true((await taken(peer, before.length)).equals(before));
    const secured = new tls.TLSSocket(peer, { isServer: true, ...identity });
    quiet(secured).write('welcome\n');
    await upgrade;
    t.is(String(await stream.readline()), 'welcome\n');
    t.is(String(await taken(secured, 7)), 'secret\n');
  });

  test(`${kind.name}: earlier writes are sent in plain text first, by the server`, async (t) => {
    const { ca, server: identity } = await certificates();
    const { stream, peer } = disposed(t, await kind.server(t));
    const before = Buffer.concat([Buffer.alloc(LARGE, 'p'), Buffer.from('end of plain\n')]);
    void stream.write(before);
    const upgrade = stream.startTls(identity);
    void stream.write('secret\n');
    await turns(20);
    t.true((await taken(peer, before.length)).equals(before));
    const secured = quiet(tls.connect({ socket: peer, ca, servername: serverHostname }));
    // In memory the handshake may be over before Node reports it: either way the write waits for it.
    secured.write('hello\n');
    await upgrade;
    t.is(String(await stream.readline()), 'hello\n');
    t.is(String(await taken(secured, 7)), 'secret\n');
  });

  test(`${kind.name}: plain bytes after the command close the server's side, and are never read`, async (t) => {
    const { server: identity } = await certificates();
    const { stream, peer } = disposed(t, await kind.server(t));
    peer.write('STARTTLS\nDELETE EVERYTHING\n');
    t.is(String(await stream.readline()), 'STARTTLS\n');
    await until(() => stream.buffered > 0);
    await isRefused(t, stream, stream.startTls(identity));
  });

  test(`${kind.name}: plain bytes after the answer close the client's side, and are never read`, async (t) => {
    const { ca } = await certificates();
    const { stream, peer } = disposed(t, await kind.client(t));
    peer.write('220 go ahead\n250 injected\n');
    t.is(String(await stream.readline()), '220 go ahead\n');
    await until(() => stream.buffered > 0);
    await isRefused(t, stream, stream.startTls({ ca }, { serverHostname }));
  });

  test(`${kind.name}: plain bytes followed by EOF: reads reject, and do not end as at EOF`, async (t) => {
    const { ca, server: identity } = await certificates();
    const client = disposed(t, await kind.client(t));
    const server = disposed(t, await kind.server(t));
    for (const { stream, peer } of [client, server]) {
      peer.end('go ahead\ninjected\n');
      t.is(String(await stream.readline()), 'go ahead\n');
      t.is(String(await stream.peek(100)), 'injected\n');
      const own = stream.isServerSide();
      await isRefused(t, stream, own ? stream.startTls(identity) : stream.startTls({ ca }, { serverHostname }));
    }
  });

  test(`${kind.name}: plain bytes during the handshake end it`, async (t) => {
    const { ca } = await certificates();
    const { stream, peer } = disposed(t, await kind.client(t));
    const upgrade = stream.startTls({ ca }, { serverHostname });
    await taken(peer, 5);
    peer.write('250 injected\n');
    const error = await t.throwsAsync(upgrade, { instanceOf: ConnectionError });
    t.regex(error.code, /^ERR_SSL_/);
    t.is(error.message.slice(0, 10), 'startTls: ');
    t.true(stream.isClosing());
    t.is(stream.buffered, 0);
    await t.throwsAsync(stream.readline(), { is: error });
  });

  test(`${kind.name}: a certificate for another name closes the connection`, async (t) => {
    const { ca, otherHost } = await certificates();
    const { client, server } = await kind.both(t);
    t.teardown(() => Promise.all([client.abort(), server.abort()]));
    // With TLS 1.3 the server is done before the client has checked the certificate.
    const serving = server.startTls(otherHost).then(
      () => server.read(),
      () => null,
    );
    await t.throwsAsync(client.startTls({ ca }, { serverHostname }), {
      instanceOf: ConnectionError,
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
    t.true(client.isClosing());
    // A connection in memory does not show the close to the other end.
    await server.abort();
    t.is((await serving)?.length ?? 0, 0);
  });

  test(`${kind.name}: a peer that ends during the handshake, or never starts it, is an error`, async (t) => {
    const { ca, server: identity } = await certificates();
    const ending = disposed(t, await kind.client(t));
    const upgrade = ending.stream.startTls({ ca }, { serverHostname });
    await taken(ending.peer, 5);
    ending.peer.end();
    await t.throwsAsync(upgrade, { instanceOf: ConnectionError, code: 'ECONNRESET' });

    const silent = disposed(t, await kind.server(t));
    await t.throwsAsync(silent.stream.startTls(identity, { sslHandshakeTimeout: 40 }), {
      instanceOf: ConnectionError,
      code: 'ETIMEDOUT',
    });
    t.true(silent.stream.isClosing());
  });
}

/** Exactly this many bytes of a Node stream; later bytes stay in it. */
async function taken(raw: Raw, count: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let left = count; left > 0;) {
    const chunk = raw.read(Math.min(left, Math.max(raw.readableLength, 1))) as Buffer | null;
    if (chunk === null) {
      await once(raw, 'readable');
      continue;
    }
    chunks.push(chunk);
    left -= chunk.length;
  }
  return Buffer.concat(chunks);
}
