/** The transport of a pair in memory. */
// Runs once: no socket is read, and the sink is not a reader.
import test from 'ava';
import { MemoryTransport } from '#ts/transports/memory.js';
import { RecordingSink, transportContract, turns, written, type PairMaker } from '../transport-contract.js';

function maker(capacity: number): PairMaker {
  return {
    name: `a pair with room for ${capacity} bytes`,
    connected: true,
    make: () => {
      const [a, b] = MemoryTransport.pair(capacity);
      return Promise.resolve({ a, b, reset: () => a.abort(), dispose: () => undefined });
    },
  };
}

transportContract(test, [maker(65536), maker(1_000_003)]);

test('nothing is delivered inside of write, and what was written may be changed after it', async (t) => {
  const [a, b] = MemoryTransport.pair(10);
  const sink = new RecordingSink();
  a.start(new RecordingSink());
  b.start(sink);
  const memory = Buffer.from('first');
  t.true(a.write(memory, () => t.fail()));
  memory.fill('x');
  await Promise.resolve();
  t.is(sink.bytes, 0);
  await sink.until(() => sink.bytes === 5);
  t.is(sink.text, 'first');
});

test('a pair accepts its capacity, and the rest as the peer receives it', async (t) => {
  const [a, b] = MemoryTransport.pair(3);
  const sink = new RecordingSink();
  a.start(new RecordingSink());
  let done = false;
  t.false(a.writev([Buffer.from('ab'), Buffer.from('cdefg')], () => (done = true)));
  t.deepEqual([a.pendingBytes, a.bytesAccepted], [4, 3]);
  await turns();
  t.is(a.pendingBytes, 4);
  b.start(sink);
  await sink.until(() => sink.bytes === 7);
  await turns();
  t.is(sink.text, 'abcdefg');
  t.true(done);
  t.deepEqual([a.pendingBytes, a.bytesAccepted], [0, 7]);
});

test('after a close, writing loses the connection with EPIPE, once what had arrived is delivered', async (t) => {
  const [a, b] = MemoryTransport.pair(100);
  const sink = new RecordingSink();
  a.start(new RecordingSink());
  b.start(sink);
  b.pauseReading();
  await written(a, 'last words');
  a.close();
  await turns();
  t.is(sink.bytes, 0);
  t.false(b.write(Buffer.from('x'), () => t.fail()));
  t.false(sink.isClosed);
  await sink.until(() => sink.isClosed);
  t.is(sink.text, 'last words');
  t.is(sink.eofs, 1);
  t.like(sink.closes[0], { name: 'ConnectionError', code: 'EPIPE', message: 'write: broken pipe' });
});
