/** Peers that send data to exhaust the memory of a server: lines without an end, frames that announce too much. */
import test from 'ava';
import { ConnectionError, type Stream } from 'sluice';
import { sameBytes } from '../bytes.js';
import { Attacked, MIB, served } from './attack.js';
import { FRAMING } from './attacked.js';

const ATTACKERS = 20;
/** The pool keeps 8 MiB of buffers for the next streams. */
const POOLED = 10 * MIB;
const CHUNK = Buffer.alloc(65536, 'x');

for (const tls of [false, true]) {
  const kind = tls ? 'TLS' : 'TCP';

  test(`a line without an end ends its connection at the limit (${kind})`, async (t) => {
    const server = await Attacked.start(t, { handler: 'lines', options: { limit: 65536 } }, { tls });
    const client = await server.client();
    const attackers = await Promise.all(Array.from({ length: ATTACKERS }, () => server.client()));
    const attacks = attackers.map(async (stream) => {
      // Never returns unless the server ends the connection.
      await t.throwsAsync(endless(stream), { instanceOf: ConnectionError });
    });
    await served(t, client);
    await Promise.all(attacks);
    await served(t, client);
    const { reports } = await server.recovers({ clients: 1, most: 48 * MIB, kept: POOLED });
    t.deepEqual(reports, { ERR_LIMIT_OVERRUN: ATTACKERS });
    await server.close();
  });

  test(`a handler that skips overlong lines needs no memory for them (${kind})`, async (t) => {
    const server = await Attacked.start(t, { handler: 'forgiving', options: { limit: 65536 } }, { tls });
    const client = await server.client();
    const attackers = await Promise.all(Array.from({ length: ATTACKERS }, () => server.client()));
    let sent = 0;
    const attacks = attackers.map(async (stream) => {
      for (let i = 0; i < 60; i++) {
        await stream.write(CHUNK);
        sent += CHUNK.length;
      }
      t.is((await stream.readline()).toString(), 'too long\n', 'it is answered before it ends');
      await stream.write('\n');
      await served(t, stream, 'a good line after it');
      await stream.close();
    });
    await served(t, client);
    await Promise.all(attacks);
    t.true(sent > 70 * MIB);
    await served(t, client);
    const { reports } = await server.recovers({ clients: 1, most: 48 * MIB, kept: POOLED });
    t.deepEqual(reports, {});
    await server.close();
  });

  test(`a frame that announces 4 GiB is refused before memory is allocated for it (${kind})`, async (t) => {
    const server = await Attacked.start(t, { handler: 'frames', options: {} }, { tls });
    const client = await server.client();
    const payload = Buffer.from('a good frame');
    const exchange = async (stream: Stream): Promise<void> => {
      await stream.writeframe(payload, FRAMING);
      sameBytes(t, await stream.readframe(FRAMING), payload);
    };
    const attackers = await Promise.all(Array.from({ length: ATTACKERS }, () => server.client()));
    const attacks = attackers.map(async (stream) => {
      await exchange(stream);
      await stream.write(Buffer.of(0xff, 0xff, 0xff, 0xff));
      await t.throwsAsync(endless(stream), { instanceOf: ConnectionError });
    });
    await exchange(client);
    await Promise.all(attacks);
    await exchange(client);
    const { reports } = await server.recovers({ clients: 1, most: 48 * MIB, kept: POOLED });
    t.deepEqual(reports, { ERR_LIMIT_OVERRUN: ATTACKERS });
    await server.close();
  });
}

/** Sends bytes that are no line end until the connection is lost. */
async function endless(stream: Stream): Promise<never> {
  for (;;) await stream.write(CHUNK);
}
