/** Peers that send or read too slowly, or not at all. */
// Runs once: the timeouts have tests of their own for each engine and each way of reading.
import test from 'ava';
import { Attacked, MIB, allClosed, served } from './attack.js';

test('1,000 connections whose lines drip in end after readTimeout, however they drip', async (t) => {
  const server = await Attacked.start(t, { handler: 'lines', options: { readTimeout: 1500 } });
  const client = await server.client();
  const attackers = await server.flock(1000);
  let alive = true;
  const closing = allClosed(attackers).then(() => (alive = false));
  while (alive) {
    // A byte now and then, as long as the server accepts it.
    for (const attacker of attackers) if (!attacker.closed) attacker.write('x');
    // Its line arrives in one piece, so it is never late.
    await served(t, client);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await closing;
  await served(t, client);
  const another = await server.client();
  await served(t, another);
  await another.close();
  const { reports, served: handled } = await server.recovers({ clients: 1, most: 48 * MIB });
  t.deepEqual(reports, { ERR_READ_TIMEOUT: 1000 });
  t.true(handled >= 1000);
  await server.close();
});

test('1,000 connections that say nothing end after idleTimeout', async (t) => {
  const server = await Attacked.start(t, { handler: 'lines', options: { idleTimeout: 5000 } });
  const attackers = await server.flock(1000);
  // This one is idle only if its process stops.
  const client = await server.client();
  let alive = true;
  const closing = allClosed(attackers).then(() => (alive = false));
  let lost = 0;
  let talking = client;
  while (alive) {
    try {
      await talking.write('still there\n');
      if ((await talking.readline()).length === 0) throw new Error('lost');
    } catch {
      lost++;
      talking = await server.client();
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await closing;
  await talking.close();
  const { reports } = await server.recovers({ clients: 0, most: 48 * MIB });
  t.is(reports['ERR_IDLE_TIMEOUT'], 1000 + lost);
  await server.close();
});

for (const tls of [false, true]) {
  test(`peers that ask for more and more and never read end after writeTimeout (${tls ? 'TLS' : 'TCP'})`, async (t) => {
    const options = { writeTimeout: 1000, closeTimeout: 60_000 };
    const server = await Attacked.start(t, { handler: 'blocks', options }, { tls });
    const client = await server.client();
    const attackers = await Promise.all(Array.from({ length: 50 }, () => server.persistentClient()));
    // Reading pauses as soon as a few blocks have arrived.
    await Promise.all(attackers.map((stream) => stream.write('1000000000\n')));
    const ask = async (): Promise<void> => {
      await client.write('100000\n');
      t.is((await client.readexactly(100_000)).length, 100_000);
    };
    await ask();
    while ((await server.count()).handlers > 1) {
      await ask();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await ask();
    const { reports } = await server.recovers({ clients: 1, most: 64 * MIB, kept: 10 * MIB });
    t.deepEqual(reports, { ERR_WRITE_TIMEOUT: 50 });
    await server.close();
  });
}
