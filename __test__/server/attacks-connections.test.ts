/** Connections that exhaust a server: handshakes that never end, resets, floods, the last descriptors. */
// Runs once: nothing is read of these connections, or next to nothing.
import test, { type ExecutionContext } from 'ava';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { quiet } from '../loopback.js';
import { Attacked, MIB, allClosed, closed, served } from './attack.js';

// eslint-disable-next-line no-restricted-syntax -- Windows can neither stop a process nor limit its descriptors
const posix = process.platform === 'win32' ? test.skip : test;

/** The first message of a TLS client. */
async function clientHello(t: ExecutionContext): Promise<Buffer> {
  const sent = new Promise<Buffer>((resolve) => {
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        resolve(chunk);
        done();
      },
    });
    const client = quiet(tls.connect({ socket: wire, servername: 'localhost' }));
    t.teardown(() => client.destroy());
  });
  const hello = await sent;
  t.is(hello[0], 0x16, 'a handshake record');
  return hello;
}

test('1,000 TLS handshakes that stop in the middle end after sslHandshakeTimeout', async (t) => {
  const options = { sslHandshakeTimeout: 2500 };
  const server = await Attacked.start(t, { handler: 'lines', options }, { tls: true });
  const client = await server.client();
  const hello = await clientHello(t);
  const attackers = await server.flock(1000);
  // A third says nothing, a third stops within the first message, and the others after it, when the server has answered.
  for (const [i, attacker] of attackers.entries()) {
    if (i % 3 === 1) attacker.write(hello.subarray(0, hello.length / 2));
    if (i % 3 === 2) attacker.write(hello);
  }
  await served(t, client);
  await allClosed(attackers);
  await served(t, client);
  const another = await server.persistentClient();
  await served(t, another);
  await another.close();
  const { reports, served: handled } = await server.recovers({ clients: 1, most: 96 * MIB });
  t.true((reports['ETIMEDOUT'] ?? 0) >= 1000);
  t.true(handled < 100, 'none of them has reached the handler');
  await server.close();
});

for (const secure of [false, true]) {
  posix(`connections that are reset before they are accepted (${secure ? 'TLS' : 'TCP'})`, async (t) => {
    const server = await Attacked.start(t, { handler: 'lines', options: {} }, { tls: secure });
    const client = await server.client();
    for (let round = 0; round < 3; round++) {
      server.signal('SIGSTOP');
      // The kernel establishes them, up to the backlog, and keeps them until the server continues.
      const attackers = await server.flock(200, { accepted: false });
      for (const attacker of attackers) attacker.resetAndDestroy();
      await allClosed(attackers);
      const asked = client.write(`after round ${round}\n`);
      server.signal('SIGCONT');
      await asked;
      t.is((await client.readline()).toString(), `after round ${round}\n`);
      // It is accepted after those that were reset.
      const another = await server.client();
      await served(t, another);
      await another.close();
    }
    const { reports } = await server.recovers({ clients: 1, most: 64 * MIB });
    t.deepEqual(
      Object.keys(reports).filter((code) => code !== 'ECONNRESET'),
      [],
    );
    await server.close();
  });
}

posix('descriptors that are used up are given back', async (t) => {
  const command = ['/bin/sh', '-c', 'ulimit -n 100; exec "$0" "$@"', process.execPath];
  const server = await Attacked.start(t, { handler: 'lines', options: {} }, { command });
  const client = await server.client();
  for (let round = 0; round < 2; round++) {
    const attackers = await server.flock(200, { accepted: false });
    // Those for which no descriptor is left.
    await Promise.race(attackers.map(closed));
    await served(t, client);
    for (const attacker of attackers) attacker.destroy();
    await allClosed(attackers);
    // The server notices a little later that they have ended. Until then it may close new connections, too.
    for (;;) {
      const another = await server.persistentClient();
      await another.write('there is room again\n').catch(() => {});
      const line = await another.readline().catch(() => Buffer.alloc(0));
      await another.abort();
      if (line.toString() === 'there is room again\n') break;
    }
  }
  await served(t, client);
  const { reports } = await server.recovers({ clients: 1, most: 64 * MIB });
  if (process.platform === 'linux') t.deepEqual(Object.keys(reports), ['EMFILE']);
  await server.close();
});
