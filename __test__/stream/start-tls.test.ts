// Runs once for each way of reading: an upgrade concerns the socket, not the ring.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import tls from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { ConnectionError, StateError, connect, type ClientHandler, type Stream } from 'sluice';
import { Stream as StreamOver } from '#ts/stream/stream.js';
import { DuplexTransport } from '#ts/transports/duplex.js';
import { StreamMode } from '#ts/transports/transport.js';
import { certificates } from '../certificates.js';
import { closedByPeer, deferred, dial, listen, serving, streamAndPeer, turns, until } from '../loopback.js';

/** The server's part of a protocol with STARTTLS. */
function upgrading(identity: tls.TlsOptions): ClientHandler {
  return async (stream) => {
    for await (const line of stream) {
      if (String(line) === 'STARTTLS\n') {
        void stream.write('220 go ahead\n');
        await stream.startTls(identity);
      } else {
        const state = stream.getExtraInfo('cipher') === undefined ? 'plain' : 'encrypted';
        await stream.write(`${state} ${String(line)}`);
      }
    }
  };
}

/** A stream of our server, and the plain socket at the other end. */
async function served(t: ExecutionContext): Promise<{ stream: Stream; peer: Socket }> {
  const accepted = deferred<Stream>();
  const { port } = await serving(t, (stream) => accepted.resolve(stream));
  const peer = await dial(t, port);
  return { stream: await accepted.promise, peer };
}

/** Makes a socket of the test a TLS client. */
function clientOver(t: ExecutionContext, socket: Socket, ca: string): tls.TLSSocket {
  const client = tls.connect({ socket, ca, servername: 'localhost' }).on('error', () => {});
  t.teardown(() => client.destroy());
  return client;
}

test('an upgrade of both sides: plain before, encrypted after, on the same stream', async (t) => {
  const { ca, server } = await certificates();
  const { port, errors } = await serving(t, upgrading(server));
  const stream = await connect('localhost', port);
  await stream.write('one\n');
  t.is(String(await stream.readline()), 'plain one\n');
  t.true(stream.canWriteEof());
  const peername = stream.getExtraInfo('peername');
  await stream.write('STARTTLS\n');
  t.is(String(await stream.readline()), '220 go ahead\n');
  const { bytesRead } = stream;
  await stream.startTls({ ca });

  const body = 'x'.repeat(60_000);
  void stream.write(`${body}\ntwo\n`);
  t.is(String(await stream.readline()), `encrypted ${body}\n`);
  t.is(String(await stream.readline()), 'encrypted two\n');
  t.false(stream.canWriteEof());
  t.is((stream.getExtraInfo('peercert') as tls.PeerCertificate).subject.CN, 'localhost');
  t.is((stream.getExtraInfo('cipher') as { version: string }).version, 'TLSv1.3');
  t.deepEqual(stream.getExtraInfo('peername'), peername);
  t.is(stream.transport.getExtraInfo('sslObject'), stream.getExtraInfo('sslObject'));
  t.is(stream.bytesRead - bytesRead, 10 + body.length + 1 + 14, 'the handshake is none of the stream');
  await t.throwsAsync(stream.startTls({ ca }), { instanceOf: StateError, code: 'ERR_TLS_STATE' });
  await stream.close();
  t.deepEqual(errors, []);
});

test('writes before startTls are sent in plain text, writes after it are encrypted', async (t) => {
  const { ca, server } = await certificates();
  const { stream, peer } = await streamAndPeer(t);
  const before = Buffer.alloc(8_000_000, 'p');
  void stream.write(before);
  void stream.write('end of plain\n');
  const upgrade = stream.startTls({ ca }, { serverHostname: 'localhost' });
  void stream.write('secret\n');
  await turns(20);
  void stream.write('more\n');

  // The peer takes exactly the plain bytes; what follows must be a handshake.
  let left = before.length + 13;
  let last = Buffer.alloc(0);
  while (left > 0) {
    const chunk = peer.read(Math.min(left, 65536)) as Buffer | null;
    if (chunk === null) {
      await Promise.race([once(peer, 'readable'), turns(1)]);
      const rest = peer.read(Math.min(left, peer.readableLength || 1)) as Buffer | null;
      if (rest !== null) {
        left -= rest.length;
        last = Buffer.concat([last, rest]).subarray(-13);
      }
      continue;
    }
    left -= chunk.length;
    last = Buffer.concat([last, chunk]).subarray(-13);
  }
  t.is(String(last), 'end of plain\n');
  peer.removeAllListeners('readable');
  const secured = new tls.TLSSocket(peer, { isServer: true, ...server });
  const received: string[] = [];
  secured.on('data', (chunk: Buffer) => received.push(String(chunk)));
  await upgrade;
  await until(() => received.join('').length >= 'secret\nmore\n'.length);
  t.is(received.join(''), 'secret\nmore\n');
});

test('the first bytes of the handshake may arrive together with the command, whole or split anywhere', async (t) => {
  const { ca } = await certificates();
  const { server } = await certificates();
  for (const split of [0, 1, 2, 5, 40, 200, Infinity]) {
    const { port, errors } = await serving(t, async (stream) => {
      await stream.readline();
      if (split > 0) await until(() => stream.buffered >= Math.min(split, 200));
      await stream.startTls(server);
      await stream.write(`got ${String(await stream.readline())}`);
    });
    const socket = await dial(t, port);
    // The client's bytes pass through here: its first bytes leave in one segment with the command.
    const { port: entry } = await listen(t, (client) => {
      let first = true;
      client.on('data', (chunk: Buffer) => {
        if (first) {
          first = false;
          socket.write(Buffer.concat([Buffer.from('STARTTLS\n'), chunk.subarray(0, split)]), () => {
            setTimeout(() => socket.write(chunk.subarray(split)), 20);
          });
        } else {
          socket.write(chunk);
        }
      });
      socket.on('data', (chunk: Buffer) => client.write(chunk));
    });
    const client = clientOver(t, await dial(t, entry), ca);
    await once(client, 'secureConnect');
    client.write('hello\n');
    t.is(String(((await once(client, 'data')) as [Buffer])[0]), 'got hello\n', `split at ${split}`);
    t.deepEqual(errors, []);
  }
});

/** The upgrade was refused because of `reason`: the connection is closed, and the injected bytes are gone. */
async function isRefused(t: ExecutionContext, stream: Stream, reason: Error | undefined): Promise<void> {
  t.true(stream.isClosing());
  t.is(stream.buffered, 0);
  t.true((stream.getExtraInfo('socket') as Socket).destroyed);
  const message = /^startTls: upgrade with 127\.0\.0\.1:\d+ refused: \d+ bytes received before the upgrade/;
  const loss = await t.throwsAsync(stream.read(), { instanceOf: ConnectionError, code: 'ECONNABORTED', message });
  t.is(loss?.cause, reason);
  t.is(stream.exception(), loss);
  for (const read of [stream.readline(), stream.readexactly(1), stream.peek(1), stream.readframes()]) {
    await t.throwsAsync(read, { is: loss });
  }
  for (const write of [stream.write('PASS secret\n'), stream.drain(), stream.flush()]) {
    const refused = await t.throwsAsync(write, { instanceOf: ConnectionError, code: 'ECONNABORTED' });
    t.is(refused?.cause, loss);
  }
  await t.throwsAsync(stream.startTls({}, { serverHostname: 'localhost' }), { any: true });
  await t.throwsAsync(stream.close(), { is: loss });
}

test('injection at the server: plain bytes after the command close the connection, and are never read', async (t) => {
  const { server } = await certificates();
  const { stream, peer } = await served(t);
  peer.write('STARTTLS\nDELETE EVERYTHING\n');
  t.is(String(await stream.readline()), 'STARTTLS\n');
  await until(() => stream.buffered > 0);
  const closed = closedByPeer(peer);
  const error = await t.throwsAsync(stream.startTls(server), {
    instanceOf: StateError,
    code: 'ERR_TLS_PLAINTEXT_PENDING',
  });
  t.is(
    error?.message,
    'startTls: 18 bytes received before the upgrade and not read, which do not begin a TLS handshake',
  );
  await isRefused(t, stream, error);
  await closed;
});

test('injection at the client: plain bytes after the answer close the connection, and are never read', async (t) => {
  const { ca } = await certificates();
  const { stream, peer } = await streamAndPeer(t);
  peer.write('220 go ahead\n250 injected\n');
  t.is(String(await stream.readline()), '220 go ahead\n');
  await until(() => stream.buffered > 0);
  const received: string[] = [];
  const closed = closedByPeer(peer.on('data', (chunk: Buffer) => received.push(String(chunk))));
  const upgrade = stream.startTls({ ca }, { serverHostname: 'localhost' });
  void stream.write('PASS secret\n');
  const flushed = stream.flush();
  const error = await t.throwsAsync(upgrade, { instanceOf: StateError, code: 'ERR_TLS_PLAINTEXT_PENDING' });
  await t.throwsAsync(flushed, { instanceOf: ConnectionError, code: 'ECONNABORTED' });
  await isRefused(t, stream, error);
  await closed;
  t.deepEqual(received, [], 'what is written during the upgrade never goes out as plaintext');
});

test('injection before the peer ends its side: later reads reject, and do not end as at EOF', async (t) => {
  const { ca, server } = await certificates();
  const client = await streamAndPeer(t);
  const accepted = await served(t);
  for (const { stream, peer } of [client, accepted]) {
    peer.end('go ahead\ninjected\n');
    t.is(String(await stream.readline()), 'go ahead\n');
    t.is(String(await stream.peek(100)), 'injected\n', 'all of it, and the end');
    const upgrade = stream.isServerSide()
      ? stream.startTls(server)
      : stream.startTls({ ca }, { serverHostname: 'localhost' });
    const error = await t.throwsAsync(upgrade, { instanceOf: StateError, code: 'ERR_TLS_PLAINTEXT_PENDING' });
    await isRefused(t, stream, error);
    t.false(stream.atEof());
  }
});

test('injection while earlier writes are sent: the connection is closed, and the injected bytes are never read', async (t) => {
  const { ca } = await certificates();
  const { stream, peer } = await streamAndPeer(t);
  void stream.write(Buffer.alloc(8_000_000));
  const upgrade = stream.startTls({ ca }, { serverHostname: 'localhost' });
  peer.write('250 injected\n');
  await turns(20);
  const all = closedByPeer(peer);
  const error = await t.throwsAsync(upgrade, { any: true });
  if ((error as StateError).code === 'ERR_TLS_PLAINTEXT_PENDING') {
    await isRefused(t, stream, error as StateError);
  } else {
    // They came too late to be seen before the handshake, and are no handshake.
    t.regex((error as ConnectionError).code, /^ERR_SSL_/);
    await t.throwsAsync(stream.read(), { is: error as ConnectionError });
  }
  await all;
});

test('a refused upgrade ends the handler of a server like any other lost connection', async (t) => {
  const { server } = await certificates();
  const refused = deferred<unknown>();
  const { port, errors } = await serving(t, async (stream) => {
    await stream.readline();
    await until(() => stream.buffered > 0);
    await stream.startTls(server).catch((error: unknown) => refused.resolve(error));
    for await (const line of stream) t.fail(`read ${String(line)}`);
  });
  const peer = await dial(t, port);
  const closed = closedByPeer(peer);
  peer.write('STARTTLS\nDELETE EVERYTHING\n');
  await closed;
  const reason = (await refused.promise) as StateError;
  t.is(reason.code, 'ERR_TLS_PLAINTEXT_PENDING');
  await until(() => errors.length > 0);
  t.deepEqual(
    errors.map(({ code, cause }) => [code, cause]),
    [['ECONNABORTED', reason]],
  );
});

test('bytes that only start like a handshake: the handshake fails, and the connection is closed', async (t) => {
  const { server } = await certificates();
  const { stream, peer } = await served(t);
  peer.write('STARTTLS\n');
  peer.write(Buffer.from('160301000448454c50', 'hex'));
  await stream.readline();
  await until(() => stream.buffered > 0);
  const closed = closedByPeer(peer);
  const error = await t.throwsAsync(stream.startTls(server), { instanceOf: ConnectionError });
  t.regex(error?.code ?? '', /^ERR_SSL_/);
  t.regex(error?.message ?? '', /^startTls: TLS handshake with 127\.0\.0\.1:\d+: ./);
  await closed;
  t.true(stream.isClosing());
  t.is(stream.exception(), error);
  await t.throwsAsync(stream.read(), { is: error });
  await t.throwsAsync(stream.drain(), { code: error?.code ?? '' });
});

test('a failed handshake closes the socket and rejects with the reason', async (t) => {
  const { ca, otherHost, expired } = await certificates();
  for (const [identity, code] of [
    [otherHost, 'ERR_TLS_CERT_ALTNAME_INVALID'],
    [expired, 'CERT_HAS_EXPIRED'],
  ] as const) {
    const { port } = await serving(t, upgrading(identity));
    const stream = await connect('localhost', port);
    await stream.write('STARTTLS\n');
    await stream.readline();
    const upgrade = stream.startTls({ ca });
    void stream.write('password\n');
    await t.throwsAsync(upgrade, { instanceOf: ConnectionError, code });
    t.is((stream.getExtraInfo('socket') as Socket).destroyed, true);
    await t.throwsAsync(stream.readline(), { code });
    await t.throwsAsync(stream.close(), { code });
  }
});

test('a handshake that takes too long is ETIMEDOUT, on either side', async (t) => {
  const { ca, server } = await certificates();
  const client = await streamAndPeer(t);
  const gone = closedByPeer(client.peer);
  await t.throwsAsync(client.stream.startTls({ ca }, { serverHostname: 'localhost', sslHandshakeTimeout: 40 }), {
    instanceOf: ConnectionError,
    code: 'ETIMEDOUT',
    message: /^startTls: TLS handshake with 127\.0\.0\.1:\d+: timed out after 40 ms$/,
  });
  await gone;
  const { stream, peer } = await served(t);
  const closed = closedByPeer(peer);
  await t.throwsAsync(stream.startTls(server, { sslHandshakeTimeout: 40 }), { code: 'ETIMEDOUT' });
  await closed;
});

test('a signal before the handshake leaves the stream plain; during it, it closes the connection', async (t) => {
  const { ca } = await certificates();
  const { stream, peer } = await streamAndPeer(t);
  const serverHostname = 'localhost';
  const reason = new Error('enough');
  await t.throwsAsync(stream.startTls({ ca }, { serverHostname, signal: AbortSignal.abort(reason) }), { is: reason });

  const waiting = new AbortController();
  const data = Buffer.alloc(8_000_000);
  void stream.write(data);
  const early = stream.startTls({ ca }, { serverHostname, signal: waiting.signal });
  void stream.write('behind\n');
  waiting.abort(reason);
  await t.throwsAsync(early, { is: reason });
  let size = 0;
  peer.on('data', (chunk: Buffer) => (size += chunk.length));
  await until(() => size === data.length + 7);
  peer.write('still plain\n');
  t.is(String(await stream.readline()), 'still plain\n');

  const handshaking = new AbortController();
  const closed = closedByPeer(peer);
  const late = stream.startTls({ ca }, { serverHostname, signal: handshaking.signal });
  await until(() => size > data.length + 7);
  handshaking.abort(reason);
  await t.throwsAsync(late, { is: reason });
  await closed;
  await isAborted(t, stream, reason);
});

test('a handshake that a timeout ended is reported by later calls as timed out', async (t) => {
  const { ca } = await certificates();
  const { stream } = await streamAndPeer(t);
  const late = stream.startTls({ ca }, { serverHostname: 'localhost', timeout: 20 });
  const reason = await t.throwsAsync(late, { code: 'ERR_TIMEOUT', message: 'startTls: timed out after 20 ms' });
  await isAborted(t, stream, reason, 'timed out after 20 ms');
});

/** The signal or timeout of `startTls` closed the connection; all later calls report that. */
async function isAborted(
  t: ExecutionContext,
  stream: Stream,
  reason: unknown,
  why = 'ended by the signal',
): Promise<void> {
  const message = new RegExp(`^startTls: TLS handshake with 127\\.0\\.0\\.1:\\d+: ${why}$`);
  const loss = await t.throwsAsync(stream.read(), { instanceOf: ConnectionError, code: 'ECONNABORTED', message });
  t.is(loss?.cause, reason);
  t.is(stream.exception(), loss);
  const refused = await t.throwsAsync(stream.drain(), { instanceOf: ConnectionError, code: 'ECONNABORTED' });
  t.is(refused?.message, `drain: the connection is lost: ${loss?.message}`);
  t.is(refused?.cause, loss);
  await t.throwsAsync(stream.waitClosed(), { is: loss });
}

test.serial('the reason of a signal need not be an error; a signal may come as the handshake ends', async (t) => {
  const { ca, server } = await certificates();
  const { stream, peer } = await streamAndPeer(t);
  const silent = new AbortController();
  const upgrade = stream.startTls({ ca }, { serverHostname: 'localhost', signal: silent.signal });
  await once(peer, 'data');
  silent.abort('enough');
  t.is(await upgrade.catch((reason: unknown) => reason), 'enough');
  await isAborted(t, stream, 'enough');

  const late = await streamAndPeer(t);
  const controller = new AbortController();
  const reason = new Error('too late');
  const { prototype } = tls.TLSSocket;
  const emit = Object.getOwnPropertyDescriptor(prototype, 'emit');
  const inherited = prototype.emit;
  t.teardown(() => {
    if (emit === undefined) Reflect.deleteProperty(prototype, 'emit');
    else Object.defineProperty(prototype, 'emit', emit);
  });
  prototype.emit = function (this: tls.TLSSocket, event: string, ...args: unknown[]): boolean {
    const heard = (inherited as (event: string, ...args: unknown[]) => boolean).call(this, event, ...args);
    if (event === 'secureConnect') controller.abort(reason);
    return heard;
  };
  const other = new tls.TLSSocket(late.peer, { isServer: true, ...server });
  const gone = closedByPeer(other.on('error', () => {}).resume());
  const ending = late.stream.startTls({ ca }, { serverHostname: 'localhost', signal: controller.signal });
  await t.throwsAsync(ending, { is: reason });
  await isAborted(t, late.stream, reason);
  await gone;
});

test('close and abort end a handshake', async (t) => {
  const { ca } = await certificates();
  for (const how of ['close', 'abort'] as const) {
    const { stream, peer } = await streamAndPeer(t);
    const upgrade = stream.startTls({ ca }, { serverHostname: 'localhost' });
    await once(peer, 'data');
    const closed = closedByPeer(peer);
    const ended = stream[how]();
    await t.throwsAsync(upgrade, { instanceOf: ConnectionError, code: 'ECONNABORTED' }, how);
    await ended;
    await closed;
    t.is(stream.exception(), null);
    t.is(String(await stream.read()), '');
  }
});

test('a peer that closes during the handshake, or has ended before, is ECONNRESET', async (t) => {
  const { ca } = await certificates();
  const during = await streamAndPeer(t);
  during.peer.once('data', () => during.peer.end());
  await t.throwsAsync(during.stream.startTls({ ca }, { serverHostname: 'localhost' }), {
    instanceOf: ConnectionError,
    code: 'ECONNRESET',
  });
  const before = await streamAndPeer(t);
  before.peer.end();
  t.is(String(await before.stream.read()), '');
  const ended = await t.throwsAsync(before.stream.startTls({ ca }, { serverHostname: 'localhost' }), {
    instanceOf: ConnectionError,
    code: 'ECONNRESET',
    message: 'startTls: the peer has ended its side',
  });
  // As if its EOF had come during the handshake.
  t.true((before.stream.getExtraInfo('socket') as Socket).destroyed);
  t.true(before.stream.isClosing());
  await t.throwsAsync(before.stream.read(), { is: ended });
  t.is((await t.throwsAsync(before.stream.write('PASS secret\n')))?.cause, ended);
});

test('one read at a time: a waiting read refuses the upgrade, and the upgrade refuses reads', async (t) => {
  const { ca } = await certificates();
  const { stream, peer } = await streamAndPeer(t);
  const line = stream.readline();
  await t.throwsAsync(stream.startTls({ ca }, { serverHostname: 'localhost' }), {
    code: 'ERR_CONCURRENT_READ',
    message: 'startTls: another read is waiting (readline)',
  });
  peer.write('x\n');
  t.is(String(await line), 'x\n');
  const upgrade = stream.startTls({ ca }, { serverHostname: 'localhost' });
  await t.throwsAsync(stream.readline(), {
    code: 'ERR_CONCURRENT_READ',
    message: 'readline: another read is waiting (startTls)',
  });
  await t.throwsAsync(stream.startTls({ ca }, { serverHostname: 'localhost' }), { instanceOf: StateError });
  await stream.abort();
  await t.throwsAsync(upgrade, { any: true });
});

test('invalid arguments are refused, and change nothing', async (t) => {
  const { ca, server } = await certificates();
  const { stream, peer } = await streamAndPeer(t);
  await t.throwsAsync(stream.startTls('yes' as never), { code: 'ERR_INVALID_ARG_TYPE' });
  await t.throwsAsync(stream.startTls({ ca }, 5 as never), { code: 'ERR_INVALID_ARG_TYPE' });
  await t.throwsAsync(stream.startTls({ ca }, { signal: 5 as never }), { code: 'ERR_INVALID_ARG_TYPE' });
  await t.throwsAsync(stream.startTls({ ca }, { sslHandshakeTimeout: 0 }), { code: 'ERR_OUT_OF_RANGE' });
  await t.throwsAsync(stream.startTls({ ca }, { serverHostname: '' }), { code: 'ERR_OUT_OF_RANGE' });
  peer.write('plain\n');
  t.is(String(await stream.readline()), 'plain\n');

  const accepted = await served(t);
  await t.throwsAsync(accepted.stream.startTls(true), { code: 'ERR_INVALID_ARG_TYPE' });
  await t.throwsAsync(accepted.stream.startTls({}), { code: 'ERR_INVALID_ARG_TYPE' });
  await t.throwsAsync(accepted.stream.startTls(server, { serverHostname: 'x' }), { code: 'ERR_INVALID_ARG_TYPE' });
  accepted.peer.write('still plain\n');
  t.is(String(await accepted.stream.readline()), 'still plain\n');

  const half = new StreamOver(new DuplexTransport(new Readable({ read() {} }), StreamMode.READ));
  await t.throwsAsync(half.startTls(true), { code: 'ERR_TLS_STATE', message: /the stream has only one direction/ });
  await t.throwsAsync(half.startTls({ ca }, { serverHostname: 'x' }), { code: 'ERR_TLS_STATE' });
  await half.abort();
  await stream.close();
  await t.throwsAsync(stream.startTls({ ca }), { code: 'ECONNRESET', message: /closing/ });

  // Over a socket of the user's there is no host that could be the name.
  const plain = await listen(t);
  await using unnamed = await connect({ sock: await dial(t, plain.port) });
  await t.throwsAsync(unnamed.startTls({ ca }), { code: 'ERR_INVALID_ARG_TYPE', message: /serverHostname/ });
});
