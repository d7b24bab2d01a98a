/** Racing the addresses of a name over real sockets. */
import test, { type ExecutionContext } from 'ava';
import dns from 'node:dns/promises';
import { syncBuiltinESMExports } from 'node:module';
import { type AttemptError, ConnectionError, connect } from 'sluice';
import { listen, turns } from './loopback.js';

/** Has a name resolve to these addresses, until the test is over. */
function resolving(t: ExecutionContext, addresses: readonly string[]): void {
  const { lookup } = dns;
  t.teardown(() => {
    dns.lookup = lookup;
    syncBuiltinESMExports();
  });
  dns.lookup = (() => Promise.resolve(addresses.map((address) => ({ address, family: 4 })))) as never;
  syncBuiltinESMExports();
}

test.serial('a first address that refuses: the next is tried at once', async (t) => {
  const { port } = await listen(t, (socket) => socket.end('here'));
  resolving(t, ['127.0.0.2', '127.0.0.1']);
  for (const happyEyeballsDelay of [null, 60_000]) {
    await using stream = await connect('two.example', port, { happyEyeballsDelay });
    t.like(stream.getExtraInfo('peername'), { address: '127.0.0.1' });
    t.is(String(await stream.read()), 'here');
  }
});

test.serial('all failing: the error lists every attempt; one address: its own error', async (t) => {
  const { port, close } = await listen(t);
  close();
  await turns(3);
  resolving(t, ['127.0.0.2', '127.0.0.3']);
  const error = await t.throwsAsync<AggregateError>(connect('two.example', port), { instanceOf: AggregateError });
  t.deepEqual(
    (error.errors as AttemptError[]).map(({ address, code }) => [address, code]),
    [
      ['127.0.0.2', 'ECONNREFUSED'],
      ['127.0.0.3', 'ECONNREFUSED'],
    ],
  );
  resolving(t, ['127.0.0.2']);
  await t.throwsAsync(connect('one.example', port), { instanceOf: ConnectionError, code: 'ECONNREFUSED' });
});
