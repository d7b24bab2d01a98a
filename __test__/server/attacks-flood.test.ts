/** Floods of connections from one address. */
// Runs once: nothing is read of these connections.
import test from 'ava';
import { connect as netConnect } from 'node:net';
import { ConnectionError, connect } from 'sluice';
import { quiet } from '../loopback.js';
import { Attacked, MIB, closed, served } from './attack.js';

/** Another address of this machine: all of 127.0.0.0/8 is its own, except on macOS. */
const OTHER = '127.0.0.2';

// eslint-disable-next-line no-restricted-syntax -- macOS has only one address that loopback connections can come from
const linux = process.platform === 'darwin' ? test.skip : test;

/** How many connections the flood has. With 60000, as in `.ci/run`, it has as many as one in each millisecond of a minute. */
const FLOOD = Number(process.env['SLUICE_FLOOD'] ?? 10_000);

/** How many connections of the flood are open at once: fewer than the backlog, so that the kernel drops none. */
const AT_ONCE = 200;

/** Connects `count` times, and resolves with the number of connections once the server has closed them all. */
function flood(port: number, count: number): Promise<number> {
  let [begun, connected, ended] = [0, 0, 0];
  return new Promise((resolve) => {
    const next = (): void => {
      begun++;
      // It never closes first: a connection that does keeps its port for a minute.
      const socket = quiet(netConnect({ port, host: '127.0.0.1' }, () => connected++)).resume();
      socket.once('close', () => {
        ended++;
        if (begun < count) next();
        else if (ended === count) resolve(connected);
      });
    };
    while (begun < AT_ONCE) next();
  });
}

linux('a flood of connections from one address is refused, and other addresses are served', async (t) => {
  const most = 50;
  const server = await Attacked.start(t, { handler: 'lines', options: { maxConnectionsPerAddress: most } });
  const client = await connect('127.0.0.1', server.port, { localAddr: [OTHER, 0] as never });
  t.teardown(() => client.abort());
  const held = await server.flock(most);
  let refused = 0;
  for (let i = 0; i < 10; i++) {
    refused += await flood(server.port, FLOOD / 10);
    await served(t, client);
  }
  t.is(refused, FLOOD);
  t.is(held.filter((socket) => socket.closed).length, 0, 'those within the bound stay');
  const { handlers, served: handled } = await server.count();
  t.is(handlers, most + 1);
  t.true(handled < 100, 'none of the others has reached the handler');

  // When one of them ends, there is room for another one.
  for (const socket of held) socket.destroy();
  await Promise.all(held.map(closed));
  for (;;) {
    try {
      await using stream = await server.client();
      await stream.write('again\n');
      if ((await stream.readline()).toString() === 'again\n') break;
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
    }
  }
  const { reports } = await server.recovers({ clients: 1, most: 48 * MIB });
  t.deepEqual(Object.keys(reports), ['ECONNREFUSED']);
  t.true(reports['ECONNREFUSED']! < 1000, 'and few of them are reported');
  await server.close();
});
