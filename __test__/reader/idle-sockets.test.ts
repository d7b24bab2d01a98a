/** Memory that sockets read into, on connections that have become idle. */
import test from 'ava';
import { connect } from 'sluice';
import { memory } from '../gc.js';
import { serving, turns, until } from '../loopback.js';

const MIB = 2 ** 20;

test('however many connections become idle after much data, few of them keep memory to read into', async (t) => {
  const SIZE = 262_144;
  const COUNT = 200;
  const { port } = await serving(t, async (stream) => {
    await stream.write(Buffer.alloc(SIZE, 'y'));
    await stream.read();
  });
  const before = await memory();
  let received = 0;
  const clients = [];
  for (let i = 0; i < COUNT; i++) {
    const client = await connect('127.0.0.1', port);
    clients.push(client);
    void (async () => {
      for (let chunk; (chunk = await client.read(8192)).length > 0;) received += chunk.length;
    })();
  }
  await until(() => received === COUNT * SIZE);
  await turns(10);
  // 32 connections keep up to 256 KiB, in rings of up to twice that; the pool has 8 MiB of rings. All 200 would keep 38 MiB.
  t.true((await memory()) - before < 25 * MIB);
  await Promise.all(clients.map((client) => client.close()));
});
