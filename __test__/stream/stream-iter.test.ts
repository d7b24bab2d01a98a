/** Streams in `node:stream/iter`, where the runtime has it. */
// Runs once for each way of reading: the engine makes no difference to streams.
import test from 'ava';
import { Process, root } from '../program.js';
import { tcp } from './connected.js';

const PROTOCOL = Symbol.for('Stream.toAsyncStreamable');

type Streamable = Record<symbol, () => AsyncIterable<Uint8Array[]>>;

test('the protocol iterates over batches until EOF, and leaves the rest when it is left', async (t) => {
  const [client, server] = await tcp(t);
  await server.write('header\nbody');
  t.is((await client.readline()).toString(), 'header\n');
  const batches = (client as unknown as Streamable)[PROTOCOL]!();
  for await (const batch of batches) {
    t.is(Buffer.concat(batch).toString(), 'body');
    break;
  }
  await server.write('rest');
  await server.close();
  const all: Uint8Array[] = [];
  for await (const batch of (client as unknown as Streamable)[PROTOCOL]!()) all.push(...batch);
  t.is(Buffer.concat(all).toString(), 'rest');
});

test('leaving the iteration while it waits consumes nothing', async (t) => {
  const [client, server] = await tcp(t);
  const batches = (client as unknown as Streamable)[PROTOCOL]!()[Symbol.asyncIterator]();
  const waiting = batches.next();
  await batches.return?.();
  t.true((await waiting).done);
  const next = client.read(100);
  await server.write('kept');
  t.is((await next).toString(), 'kept');
});

const PROGRAM = `
import { from, bytes, pipeTo, pull, text } from 'node:stream/iter';
import { streampair } from 'sluice';
const [client, server] = streampair();
await server.write('header\\nbody one\\nbody two');
await server.close();
console.log((await client.readline()).toString().trim());
console.log(JSON.stringify(await text(client)));
const [left, right] = streampair();
await pipeTo(pull(from('to be written'), (batch) => batch), left);
await left.writeEof();
console.log(Buffer.from(await bytes(right)).toString());
await left.close();
`;

const FLAG = '--experimental-stream-iter';

test('stream/iter reads from a stream, and writes to one', async (t) => {
  if (!process.allowedNodeEnvironmentFlags.has(FLAG)) {
    t.pass('this runtime does not have it');
    return;
  }
  const args = [FLAG, '--no-warnings', '--input-type=module', '--eval', PROGRAM];
  const { code, stdout, stderr } = await new Process(t, process.execPath, args, { cwd: root }).ended;
  t.is(stderr, '');
  t.is(stdout, 'header\n"body one\\nbody two"\nto be written\n');
  t.is(code, 0);
});
