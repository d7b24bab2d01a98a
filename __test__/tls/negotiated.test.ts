/** What both sides of TLS have negotiated: the protocol of ALPN, and the name that the client has sent. */
// Runs once: how TLS is read makes no difference to handshakes; tls.test.ts and decrypted-reads.test.ts have each way of reading.
import { connect as netConnect } from 'node:net';
import test from 'ava';
import { connect, type Stream } from 'sluice';
import { certificates } from '../certificates.js';
import { deferred, echo, serving } from '../loopback.js';

/** The facts of a stream, before and after it is closed. */
function negotiated(stream: Stream): unknown[] {
  return [stream.getExtraInfo('alpn'), stream.getExtraInfo('servername')];
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: alpn and servername are known on both sides, also after the close`, async (t) => {
    const { ca, server: identity } = await certificates();
    const cases = [
      { offered: ['x/2', 'x/1'], known: ['x/1', 'x/2'], name: 'localhost', facts: ['x/1', 'localhost'] },
      { offered: ['x/1'], known: ['x/1'], name: '127.0.0.1', facts: ['x/1', undefined] },
      { offered: undefined, known: ['x/1'], name: 'localhost', facts: [undefined, 'localhost'] },
      { offered: ['x/1'], known: undefined, name: 'localhost', facts: [undefined, 'localhost'] },
      { offered: undefined, known: undefined, name: '127.0.0.1', facts: [undefined, undefined] },
    ];
    for (const { offered, known, name, facts } of cases) {
      const seen = deferred<unknown[]>();
      const closed = deferred<unknown[]>();
      const ssl = { ...identity, ALPNProtocols: known };
      const { port, errors } = await serving(
        t,
        async (stream) => {
          seen.resolve(negotiated(stream));
          await stream.read();
          await stream.close();
          closed.resolve(negotiated(stream));
        },
        { ssl },
      );
      const client = await connect('127.0.0.1', port, {
        ssl: { ca, ALPNProtocols: offered, maxVersion: version },
        serverHostname: name,
      });
      t.deepEqual(negotiated(client), facts);
      t.deepEqual(await seen.promise, facts);
      t.is(client.getExtraInfo('alpn', 'none'), facts[0] ?? 'none');
      await client.close();
      t.deepEqual(negotiated(client), facts);
      t.deepEqual(await closed.promise, facts);
      t.deepEqual(errors, []);
    }
  });
}

test('startTls: alpn and servername are unknown before, and known afterwards', async (t) => {
  const { ca, server: identity } = await certificates();
  const seen: unknown[] = [];
  const done = deferred();
  const { port, errors } = await serving(t, async (stream) => {
    seen.push(negotiated(stream));
    await stream.startTls({ ...identity, ALPNProtocols: ['x/1'] });
    seen.push(negotiated(stream));
    done.resolve();
    await stream.read();
  });
  const client = await connect('127.0.0.1', port);
  t.deepEqual(negotiated(client), [undefined, undefined]);
  await client.startTls({ ca, ALPNProtocols: ['x/1'] }, { serverHostname: 'localhost' });
  t.deepEqual(negotiated(client), ['x/1', 'localhost']);
  await done.promise;
  t.deepEqual(seen, [
    [undefined, undefined],
    ['x/1', 'localhost'],
  ]);
  await client.close();
  t.deepEqual(errors, []);
});

test('TLS over an existing socket has alpn and servername, too', async (t) => {
  const { ca, server: identity } = await certificates();
  const { port } = await serving(t, echo, { ssl: { ...identity, ALPNProtocols: ['x/1'] } });
  const sock = netConnect({ port, host: '127.0.0.1' });
  const client = await connect({ sock, ssl: { ca, ALPNProtocols: ['x/1'] }, serverHostname: 'localhost' });
  t.deepEqual(negotiated(client), ['x/1', 'localhost']);
  await client.close();
});
