/** Peers that subscribe to what others send, and never read. */
// Runs once: the bound of the write buffer has tests of its own for each engine and each way of reading.
import test from 'ava';
import { Attacked, MIB } from './attack.js';

for (const tls of [false, true]) {
  test(`peers that never read end at maxWriteBuffer, and the others receive everything (${tls ? 'TLS' : 'TCP'})`, async (t) => {
    const options = { maxWriteBuffer: MIB, closeTimeout: 60_000 };
    const server = await Attacked.start(t, { handler: 'publish', options }, { tls });
    const stalled = 20;
    const attackers = await Promise.all(Array.from({ length: stalled }, () => server.persistentClient()));
    const clients = await Promise.all(Array.from({ length: 10 }, () => server.persistentClient()));
    while ((await server.count()).handlers < stalled + clients.length) continue;

    const message = Buffer.alloc(32_768, 'x');
    message[message.length - 1] = 0x0a;
    let sent = 0;
    for (;;) {
      // The next message is sent when all clients have this one, so that only the attackers have something queued.
      await clients[0]!.write(message);
      sent += message.length;
      const received = await Promise.all(clients.map((client) => client.readexactly(message.length)));
      t.true(received.every((one) => one.equals(message)));
      if (sent % MIB === 0 && (await server.count()).handlers === clients.length) break;
    }
    const { reports } = await server.recovers({ clients: clients.length, most: 96 * MIB, kept: 10 * MIB });
    t.deepEqual(reports, { ERR_WRITE_OVERFLOW: stalled });
    for (const attacker of attackers) void attacker.abort();
    await server.close();
  });
}
