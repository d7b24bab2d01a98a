// Runs once: it is about the two sockets, which are Node's.
import test from 'ava';
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { Server, Socket, connect as netConnect, type AddressInfo } from 'node:net';
import { ConnectionError, connect, socketpair } from 'sluice';
import { gather, quiet, turns } from '../loopback.js';

test('bytes written to one end are read from the other, in both directions', async (t) => {
  const [left, right] = await socketpair();
  t.true(left instanceof Socket);
  t.true(right instanceof Socket);
  const there = gather(right);
  const back = gather(left);
  left.end('there');
  t.is(String(await there), 'there');
  t.false(right.destroyed, 'half-open');
  right.end('back');
  t.is(String(await back), 'back');
});

test('the ends of a pair are connected to each other, and pairs do not mix', async (t) => {
  const pairs = await Promise.all(Array.from({ length: 8 }, () => socketpair()));
  for (const [i, [left, right]] of pairs.entries()) {
    t.is(left.localPort, right.remotePort);
    t.is(left.remotePort, right.localPort);
    const text = gather(right);
    left.end(`pair ${i}`);
    t.is(String(await text), `pair ${i}`);
    left.destroy();
    right.destroy();
  }
});

test('a stream over one end waits for data from the other', async (t) => {
  const [left, right] = await socketpair();
  await using stream = await connect({ sock: left });
  const read = stream.read(100);
  right.write('abc');
  t.is(String(await read), 'abc');
  right.destroy();
});

test.serial('a foreign connection that arrives first is dropped', async (t) => {
  // Replaces listen: a foreign client connects to the listener before the pair does.
  const strangers: Socket[] = [];
  const listen = Server.prototype.listen;
  t.teardown(() => {
    Server.prototype.listen = listen;
    for (const stranger of strangers) stranger.destroy();
  });
  Server.prototype.listen = function (this: Server, ...given: unknown[]) {
    const ready = given.pop() as () => void;
    return listen.call(this, given[0] as object, () => {
      const { port, address } = this.address() as AddressInfo;
      const stranger = quiet(netConnect(port, address));
      strangers.push(stranger);
      stranger.once('connect', () => {
        // It is accepted by then.
        void turns(5).then(ready);
      });
    });
  } as typeof listen;
  const [left, right] = await socketpair();
  t.is(strangers.length, 1);
  t.not(right.remotePort, strangers[0]?.localPort);
  const closed = once(strangers[0] as Socket, 'close');
  strangers[0]?.resume();
  const text = gather(right);
  left.end('ours');
  t.is(String(await text), 'ours');
  await closed;
  right.destroy();
});

test.serial('a system error rejects', async (t) => {
  const listen = Server.prototype.listen;
  t.teardown(() => {
    Server.prototype.listen = listen;
  });
  const failure = Object.assign(new Error('listen EMFILE'), { code: 'EMFILE' });
  Server.prototype.listen = function (this: Server) {
    process.nextTick(() => this.emit('error', failure));
    return this;
  } as typeof listen;
  const error = await t.throwsAsync(socketpair(), { instanceOf: ConnectionError, code: 'EMFILE' });
  t.is(error.message, 'socketpair: listen EMFILE');
  t.is(error.cause, failure);
});

test('large data crosses a pair unchanged', async (t) => {
  const [left, right] = await socketpair();
  const data = Buffer.alloc(3 * 1024 * 1024, 'abcdefg');
  const received = gather(right);
  left.end(data);
  t.true((await received).equals(data));
  right.destroy();
});
