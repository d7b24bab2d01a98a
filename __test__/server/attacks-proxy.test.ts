/** Peers that send PROXY headers that are cut short, too long, or none. */
// Runs once: the headers have tests of their own for each engine and each way of reading.
import test from 'ava';
import { connect, type Stream } from 'sluice';
import { Attacked, MIB, allClosed, served } from './attack.js';

const V1 = Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 50123 443\r\n');
const V2 = Buffer.from(
  '0d0a0d0a000d0a515549540a' + '21' + '11' + '000c' + 'cb007107' + 'c0000201' + 'c3cb' + '01bb',
  'hex',
);
/** Version 2, with the longest length that the field can have, of which only a part follows. */
const LONG_V2 = Buffer.concat([V2.subarray(0, 14), Buffer.of(0xff, 0xff), Buffer.alloc(32_768)]);
/** Version 1 without an end. */
const LONG_V1 = Buffer.from(`PROXY UNKNOWN ${'x'.repeat(500)}`);

test('PROXY headers that are cut at every byte, too long or malformed', async (t) => {
  const server = await Attacked.start(t, { handler: 'lines', options: {}, proxyTimeout: 2500 }, { before: V1 });
  const proxied = async (): Promise<Stream> => {
    const stream = await connect('127.0.0.1', server.port);
    t.teardown(() => stream.abort());
    await stream.write(V2);
    return stream;
  };
  const client = await proxied();
  await served(t, client);
  const before = await server.measure();

  const cut = [V1, V2].flatMap((header) => Array.from(header.keys(), (length) => header.subarray(0, length)));
  const ended = await server.flock(cut.length);
  for (const [i, bytes] of cut.entries()) ended[i]!.end(bytes);
  const reset = await server.flock(cut.length);
  for (const [i, bytes] of cut.entries()) reset[i]!.write(bytes, () => reset[i]!.resetAndDestroy());
  const waiting = await server.flock(cut.length);
  for (const [i, bytes] of cut.entries()) waiting[i]!.write(bytes);
  const wrong = await server.flock(4);
  wrong[0]!.write(LONG_V1);
  wrong[1]!.write(LONG_V2);
  wrong[2]!.write('GET / HTTP/1.1\r\n\r\n');
  wrong[3]!.write(Buffer.concat([V2.subarray(0, 12), Buffer.alloc(100, 0xff)]));
  await served(t, client);
  await allClosed([...ended, ...reset, ...waiting, ...wrong]);

  await served(t, client);
  const another = await proxied();
  await served(t, another);
  await another.close();
  const { reports, served: handled } = await server.recovers({ clients: 1, most: 48 * MIB });
  t.is(handled, before.served + 1, 'none of them has reached the handler');
  t.deepEqual(Object.keys(reports).sort(), ['ERR_PROXY_HEADER', 'ETIMEDOUT']);
  await server.close();
});
