// Runs once: nothing is read.
/* eslint @typescript-eslint/no-floating-promises: off -- the promises of the writer need not be awaited: that is part of the test */
import net, { type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { createHash } from 'node:crypto';
import { inspect } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { ConnectionError, StateError } from '#ts/errors.js';
import { SocketTransport } from '#ts/transports/socket.js';
import { StreamWriter, writerOutlet } from '#ts/writer/writer.js';
import { seed } from '../seed.js';
import { RecordingSink, turns } from '../transport-contract.js';
import { FakeTransport, make } from './fake-transport.js';

/** The state of the promise after a few turns of the event loop. */
async function state(promise: Promise<unknown>): Promise<'pending' | 'resolved' | 'rejected'> {
  let result: 'pending' | 'resolved' | 'rejected' = 'pending';
  promise.then(
    () => (result = 'resolved'),
    () => (result = 'rejected'),
  );
  await turns(3);
  return result;
}

/** A signal that counts its listeners. */
function counted(): { signal: AbortSignal; abort(reason: unknown): void; listeners(): number } {
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--;
    remove(...args);
  };
  return {
    signal,
    abort: (reason) => {
      controller.abort(reason);
    },
    listeners: () => listeners,
  };
}

const reset = { instanceOf: ConnectionError, code: 'ECONNRESET' } as const;
const KB = 1024;

// Writing and coalescing

test('the first write of a turn is sent at once, the others together at its end', async (t) => {
  const { transport, writer } = make();
  writer.write('first');
  t.deepEqual(transport.calls, ['write 5']);
  for (let i = 0; i < 99; i++) writer.write(i % 2 === 0 ? 'text' : Buffer.from('data'));
  t.is(transport.calls.length, 1);
  t.is(writer.writeBufferSize, 99 * 4);
  await turns(1);
  t.deepEqual(transport.calls, ['write 5', `write ${99 * 4}`]);
  t.is(writer.writeBufferSize, 0);
  t.is(writer.bytesWritten, 5 + 99 * 4);
  t.is(transport.text, `first${'textdata'.repeat(50)}`.slice(0, 5 + 99 * 4));
  t.deepEqual(transport.batches[1], { pieces: 1, bytes: 99 * 4 });

  writer.write('x');
  await turns(1);
  writer.write('next turn');
  t.deepEqual(transport.calls.slice(2), ['write 1', 'write 9']);
});

test('replies that are awaited one after the other are one turn', async (t) => {
  const { transport, writer } = make();
  for (let i = 0; i < 100; i++) {
    await Promise.resolve();
    await writer.write('reply\n');
  }
  await turns(1);
  t.is(transport.batches.length, 2);
  t.is(transport.text, 'reply\n'.repeat(100));
});

test('several writers in one turn send separately', async (t) => {
  const made = Array.from({ length: 5 }, () => make());
  for (let i = 0; i < 3; i++) for (const [n, { writer }] of made.entries()) writer.write(`${n}${i} `);
  await turns(1);
  made.forEach(({ transport }, n) => {
    t.is(transport.batches.length, 2);
    t.is(transport.text, `${n}0 ${n}1 ${n}2 `);
  });
});

test('small and large pieces keep their order', async (t) => {
  const { transport, writer } = make();
  const large = Buffer.alloc(20 * KB, 'L');
  const middle = 'm'.repeat(5000);
  const wide = 'ü€😀'.repeat(2000);
  writer.write('0');
  const parts = ['a', large, 'b', middle, wide, 'c', Buffer.from('d'), ''];
  for (const part of parts) writer.write(part);
  await turns(1);
  const expected = Buffer.concat([Buffer.from('0'), ...parts.map((part) => Buffer.from(part as string))]);
  t.true(Buffer.concat(transport.taken).equals(expected));
  t.is(transport.batches.length, 2);
  t.is(writer.bytesWritten, expected.length);
});

test('strings are UTF-8, whatever the text and wherever the slab ends', async (t) => {
  const texts = ['', 'ascii', 'ÿ', '€uro', '😀', '\ud800 alone', 'x'.repeat(4095), 'ß'.repeat(4096), '漢'.repeat(3000)];
  const { transport, writer } = make();
  const expected: Buffer[] = [];
  for (let i = 0; i < 60; i++) {
    const text = texts[(i * 7) % texts.length] ?? '';
    writer.write(text);
    expected.push(Buffer.from(text));
    if (i % 11 === 0) await turns(1);
  }
  await turns(1);
  t.true(Buffer.concat(transport.taken).equals(Buffer.concat(expected)));
});

test('a small piece may be changed as soon as write returns, even while the peer is clogged', async (t) => {
  const { transport, writer } = make(true);
  const memory = Buffer.from('one ');
  writer.write(memory);
  memory.write('two ');
  writer.write(memory);
  memory.write('xxxx');
  await turns(1);
  // Other writers of the thread use slabs meanwhile; the one in flight must not be among them.
  const other = make();
  for (let i = 0; i < 10; i++) other.writer.write('noise'.repeat(100));
  await turns(1);
  transport.unclog();
  t.is(transport.text, 'one two ');
});

test('only one batch is in flight; later writes are sent when it is done', async (t) => {
  const { transport, writer } = make(true);
  writer.write('one');
  writer.write('two');
  await turns(2);
  writer.write('three');
  await turns(2);
  t.deepEqual(transport.calls, ['write 3']);
  t.is(writer.writeBufferSize, 11);
  transport.unclog(true);
  t.deepEqual(transport.calls, ['write 3', 'write 8']);
  t.is(writer.writeBufferSize, 8);
  transport.unclog();
  t.is(transport.text, 'onetwothree');
  t.is(writer.writeBufferSize, 0);
});

test('a queue that reaches the high watermark is sent before the turn ends', (t) => {
  const { transport, writer } = make();
  writer.write('x');
  for (let i = 0; i < 15; i++) writer.write(Buffer.alloc(4 * KB));
  t.is(transport.calls.length, 1);
  writer.write(Buffer.alloc(4 * KB));
  t.deepEqual(transport.calls, ['write 1', `write ${64 * KB}`]);
});

test('writelines sends one batch, and an invalid piece refuses all of it', async (t) => {
  const { transport, writer } = make();
  writer.writelines(['a', Buffer.from('b'), 'c'.repeat(5000), new Uint8Array([100])]);
  t.is(transport.batches.length, 1);
  t.is(transport.text, `ab${'c'.repeat(5000)}d`);
  await turns(1);
  writer.writelines(
    (function* () {
      yield 'from a ';
      yield 'generator';
    })(),
  );
  t.true(transport.text.endsWith('from a generator'));
  await turns(1);
  writer.writelines([]);
  writer.writelines('text');
  const before = writer.bytesWritten;
  const wrong = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
  t.throws(() => writer.writelines(['fine', 42 as unknown as string]), { ...wrong, message: /list\[1\].*not 42/ });
  t.throws(() => writer.writelines(null as unknown as string[]), { ...wrong, message: /writelines: list .*not null/ });
  t.throws(() => writer.writelines({} as unknown as string[]), wrong);
  t.is(writer.bytesWritten, before);
  t.is(transport.batches.length, 3);
});

test('data of the wrong type is refused at once, by name, also after close', (t) => {
  const { transport, writer } = make();
  for (const wrong of [42, null, undefined, {}, ['a'], new ArrayBuffer(1), new Uint16Array(1), true, 1n, Symbol('s')]) {
    t.throws(() => writer.write(wrong as never), {
      instanceOf: TypeError,
      code: 'ERR_INVALID_ARG_TYPE',
      message: /^write: data must be a string or Uint8Array, not /,
    });
  }
  t.deepEqual(transport.calls, []);
  writer.abort();
  t.throws(() => writer.write(42 as never), { code: 'ERR_INVALID_ARG_TYPE' });
});

test('an empty write sends nothing', async (t) => {
  const { transport, writer } = make();
  await writer.write('');
  await writer.write(new Uint8Array(0));
  await writer.flush();
  await turns(2);
  t.deepEqual(transport.calls, []);
  t.is(writer.bytesWritten, 0);
});

// Watermarks

test('drain is one resolved promise up to the high watermark; above it, it waits for the low one', async (t) => {
  const { transport, writer } = make(true);
  const room = writer.drain();
  t.is(writer.writelines(Array.from({ length: 16 }, () => Buffer.alloc(4 * KB))), room);
  t.is(writer.drain(), room);
  t.is(writer.write(''), room);
  const more = writer.write('1');
  t.not(more, room);
  const drains = [writer.drain(), writer.drain(), more];
  t.is(await state(Promise.race(drains)), 'pending');

  // 64 KiB are sent; 1 byte and the second write remain: above low, then at low.
  writer.write(Buffer.alloc(16 * KB));
  transport.unclog(true);
  t.is(writer.writeBufferSize, 16 * KB + 1);
  t.is(await state(Promise.race(drains)), 'pending');
  t.is(await state(writer.write('')), 'pending');
  transport.unclog();
  t.is(await state(Promise.all(drains)), 'resolved');
  t.is(writer.drain(), room);
});

test('memory can be reused once its write was awaited, whatever its size', async (t) => {
  for (const size of [4 * KB, 4 * KB + 1, 32 * KB]) {
    const { transport, writer } = make(true);
    writer.write('in flight');
    const memory = Buffer.alloc(size, 'a');
    const written = writer.write(memory);
    const listed = writer.writelines([Buffer.from('-'), memory]);
    if (size > 4 * KB) {
      t.is(await state(written), 'pending', `${size} bytes, below the watermark, but not taken`);
      t.is(await state(listed), 'pending');
      transport.unclog();
    }
    await Promise.all([written, listed]);
    memory.fill('b');
    transport.unclog();
    await writer.flush();
    t.is(transport.text, `in flight${'a'.repeat(size)}-${'a'.repeat(size)}`);
  }
  const { writer } = make(false);
  t.is(writer.write(Buffer.alloc(32 * KB)), writer.drain(), 'what the kernel has taken needs no wait');
});

test('a large write that is never sent rejects with the loss, and need not be awaited', async (t) => {
  const { writer } = make(true);
  const written = writer.write(Buffer.alloc(32 * KB));
  writer.write(Buffer.alloc(32 * KB));
  writerOutlet(writer).connectionLost(Object.assign(new Error('cut'), { code: 'EPIPE' }));
  const error = await t.throwsAsync(written, { code: 'EPIPE' });
  t.regex(error.message, /^write: /);
});

test('setWriteBufferLimits follows the rules of asyncio', async (t) => {
  // How much can be written, in steps of 4 KiB, before drain waits.
  const fullAt = (limits?: { high?: number; low?: number }): number => {
    const { writer } = make(true);
    writer.setWriteBufferLimits(limits);
    const room = writer.drain();
    let written = 0;
    while (writer.drain() === room && written < 300 * KB) {
      writer.write(Buffer.alloc(4 * KB));
      written += 4 * KB;
    }
    return written;
  };
  t.is(fullAt(), 68 * KB);
  t.is(fullAt({}), 68 * KB);
  t.is(fullAt({ high: 100 * KB }), 104 * KB);
  t.is(fullAt({ low: 4 * KB }), 20 * KB);
  t.is(fullAt({ high: 0 }), 4 * KB);
  t.is(fullAt({ high: 8 * KB, low: 8 * KB }), 12 * KB);

  const { writer } = make();
  const range = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  t.throws(() => writer.setWriteBufferLimits({ high: 5, low: 6 }), {
    ...range,
    message: /low .*at most high, 5, not 6/,
  });
  for (const wrong of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
    t.throws(() => writer.setWriteBufferLimits({ high: wrong }), range, `high ${wrong}`);
    t.throws(() => writer.setWriteBufferLimits({ low: wrong }), range, `low ${wrong}`);
  }
  const type = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
  t.throws(() => writer.setWriteBufferLimits({ high: '5' as unknown as number }), type);
  t.throws(() => writer.setWriteBufferLimits(5 as never), type);
  t.throws(() => writer.setWriteBufferLimits(null as never), type);
  await turns(1);
});

test('the low watermark is a quarter of the high one by default', async (t) => {
  for (const [limits, low] of [
    [{ high: 1000 }, 250],
    [{ high: 1000, low: 999 }, 999],
    [{ low: 100 }, 100],
  ] as const) {
    for (const left of [low, low + 1]) {
      const { transport, writer } = make(true);
      writer.setWriteBufferLimits(limits);
      writer.write(Buffer.alloc(4096));
      const drain = writer.drain();
      writer.write(Buffer.alloc(left));
      transport.unclog(true);
      t.is(writer.writeBufferSize, left);
      t.is(await state(drain), left === low ? 'resolved' : 'pending', `${left} left, low ${low}`);
      transport.unclog();
    }
  }
});

test('raising the watermarks resolves waiting drains', async (t) => {
  const { writer } = make(true);
  writer.write(Buffer.alloc(100 * KB));
  const drain = writer.drain();
  t.is(await state(drain), 'pending');
  writer.setWriteBufferLimits({ high: 400 * KB });
  t.is(await state(drain), 'resolved');
});

test('with high: 0 every write waits until it is sent', async (t) => {
  const { transport, writer } = make(true);
  writer.setWriteBufferLimits({ high: 0 });
  const room = writer.drain();
  const wait = writer.write('x');
  t.not(wait, room);
  t.is(await state(wait), 'pending');
  transport.unclog();
  t.is(await state(wait), 'resolved');
});

// flush

test('flush waits for every byte written before it, and for none written after it', async (t) => {
  const { transport, writer } = make(true);
  await writer.flush();
  writer.write('one');
  const first = writer.flush();
  writer.write('two');
  const second = writer.flush();
  const third = writer.flush();
  t.is(await state(first), 'pending');
  transport.unclog(true);
  t.is(await state(first), 'resolved');
  t.is(await state(second), 'pending');
  transport.unclog();
  t.is(await state(Promise.all([second, third])), 'resolved');
  t.is(transport.text, 'onetwo');
});

test('flush sends the queue before the turn ends', (t) => {
  const { transport, writer } = make();
  writer.write('a');
  writer.write('b');
  writer.flush();
  t.is(transport.text, 'ab');
});

// Closing

test('close flushes, closes once, and returns the same promise each time', async (t) => {
  const { transport, writer } = make(true);
  writer.write('a');
  writer.write('b');
  const waiting = writer.waitClosed();
  const closed = writer.close();
  t.is(writer.close(), closed);
  t.is(waiting, closed);
  t.true(writer.isClosing());
  transport.unclog(true);
  t.deepEqual(transport.calls, ['write 1', 'write 1']);
  t.is(await state(closed), 'pending');
  transport.unclog();
  t.deepEqual(transport.calls, ['write 1', 'write 1', 'close']);
  t.is(transport.text, 'ab');
  t.is(await state(closed), 'pending');
  writerOutlet(writer).connectionLost(null);
  t.is(await state(closed), 'resolved');
  t.is(writer.close(), closed);
  await writer.waitClosed();
  t.is(transport.calls.filter((call) => call === 'close').length, 1);
});

test('close with an empty queue closes at once; writes of the same turn are sent first', (t) => {
  const idle = make();
  void idle.writer.close();
  t.deepEqual(idle.transport.calls, ['close']);
  const busy = make();
  busy.writer.write('a');
  busy.writer.write('bc');
  void busy.writer.close();
  t.deepEqual(busy.transport.calls, ['write 1', 'write 2', 'close']);
});

test('close and waitClosed reject with the error that ended the connection', async (t) => {
  const loss = new ConnectionError('ECONNRESET', 'read: connection reset by peer');
  const { writer } = make(true);
  writer.write('x');
  const closed = writer.close();
  writerOutlet(writer).connectionLost(loss);
  await t.throwsAsync(closed, { is: loss });
  await t.throwsAsync(writer.close(), { is: loss });
  await t.throwsAsync(writer.waitClosed(), { is: loss });
  const { writer: later } = make();
  writerOutlet(later).connectionLost(loss);
  await t.throwsAsync(later.close(), { is: loss });
  t.true(later.isClosing());
});

test('waitClosed does not close', async (t) => {
  const { transport, writer } = make();
  const closed = writer.waitClosed();
  t.is(await state(closed), 'pending');
  t.deepEqual(transport.calls, []);
  t.false(writer.isClosing());
  writerOutlet(writer).connectionLost(null);
  await closed;
});

test('after close, write and drain reject with ECONNRESET, and flush waits for the queue', async (t) => {
  const { transport, writer } = make(true);
  writer.write('x');
  writer.close();
  await t.throwsAsync(writer.write('y'), { ...reset, message: 'write: the connection is closing' });
  await t.throwsAsync(writer.writelines(['y']), { ...reset, message: 'writelines: the connection is closing' });
  await t.throwsAsync(writer.drain(), { ...reset, message: 'drain: the connection is closing' });
  await t.throwsAsync(writer.writeEof(), reset);
  const flush = writer.flush();
  t.is(await state(flush), 'pending');
  transport.unclog();
  await flush;
  writerOutlet(writer).connectionLost(null);
  await t.throwsAsync(writer.write('y'), { ...reset, message: 'write: the connection is closed' });
  await writer.flush();
  t.is(transport.text, 'x');
  t.is(writer.bytesWritten, 1);
});

test('abort drops the queue, and every waiting call rejects', async (t) => {
  const { transport, writer } = make(true);
  writer.write(Buffer.alloc(70 * KB));
  writer.write('queued');
  const waits = [writer.drain(), writer.write('more'), writer.flush()];
  const closed = writer.waitClosed();
  writer.abort();
  writer.abort();
  t.deepEqual(transport.calls, [`write ${70 * KB}`, 'abort']);
  t.true(writer.isClosing());
  await t.throwsAsync(writer.flush(), { ...reset, message: 'flush: the connection is aborted' });
  await t.throwsAsync(writer.write('y'), { ...reset, message: 'write: the connection is aborted' });
  await turns(2);
  writerOutlet(writer).connectionLost(null);
  for (const wait of waits) await t.throwsAsync(wait, reset);
  await closed;
  await writer.close();
  await t.throwsAsync(writer.flush(), reset);
  t.is(writer.writeBufferSize, 0);
  t.is(transport.calls.length, 2);
});

test('abort ends a close that cannot flush', async (t) => {
  const { transport, writer } = make(true);
  writer.write('x');
  const closed = writer.close();
  writer.abort();
  t.deepEqual(transport.calls, ['write 1', 'abort']);
  writerOutlet(writer).connectionLost(null);
  await closed;
});

test('a loss rejects every waiting call, with its code and the error as the cause', async (t) => {
  const loss = new ConnectionError('EPIPE', 'write 192.0.2.1:80: broken pipe');
  const { writer } = make(true);
  writer.write(Buffer.alloc(70 * KB));
  const eof = writer.writeEof();
  const waits = [writer.drain(), writer.drain(), writer.flush(), eof];
  writerOutlet(writer).connectionLost(loss);
  writerOutlet(writer).connectionLost(null);
  for (const wait of waits) {
    const error = await t.throwsAsync(wait, { instanceOf: ConnectionError, code: 'EPIPE', message: /: broken pipe$/ });
    t.is(error?.cause, loss);
  }
  for (const call of ['write', 'writelines', 'drain'] as const) {
    const refused = call === 'drain' ? writer.drain() : call === 'write' ? writer.write('x') : writer.writelines(['x']);
    const error = await t.throwsAsync(refused, {
      instanceOf: ConnectionError,
      code: 'EPIPE',
      message: `${call}: the connection is lost: ${loss.message}`,
    });
    t.is(error?.cause, loss);
  }
  await t.throwsAsync(writer.flush(), { code: 'EPIPE' });

  const foreign = new Error('of a Duplex');
  const { writer: other } = make();
  writerOutlet(other).connectionLost(foreign);
  const drained = await t.throwsAsync(other.drain(), reset);
  t.is(drained?.cause, foreign);
  await t.throwsAsync(other.close(), { is: foreign });
});

test('no promise has to be awaited: none of their rejections is unhandled', async (t) => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => {
    unhandled.push(reason);
  };
  process.on('unhandledRejection', note);
  const { writer } = make(true);
  writer.write(Buffer.alloc(70 * KB));
  writer.write('x');
  writer.drain();
  writer.flush();
  writer.waitClosed();
  writer.writeEof();
  writer.write('after the end');
  writer.close();
  writer.write('after close');
  writerOutlet(writer).connectionLost(new Error('gone'));
  writer.close();
  writer.write('after the loss');
  writer.drain();
  writer.flush();
  writer.writeEof();
  await turns();
  process.off('unhandledRejection', note);
  t.deepEqual(unhandled, []);
});

// Half-close

test('writeEof is sent once, after all writes; later writes are refused', async (t) => {
  const { transport, writer } = make(true);
  t.true(writer.canWriteEof());
  writer.write('a');
  writer.write('b');
  const eof = writer.writeEof();
  t.is(writer.writeEof(), eof);
  transport.unclog();
  t.is(await state(eof), 'resolved');
  t.deepEqual(transport.calls, ['write 1', 'write 1', 'eof']);
  t.false(writer.isClosing());
  await t.throwsAsync(writer.write('c'), { instanceOf: StateError, code: 'ERR_WRITE_AFTER_EOF', message: /^write: / });
  await t.throwsAsync(writer.writelines(['c']), { code: 'ERR_WRITE_AFTER_EOF', message: /^writelines: / });
  await writer.drain();
  await writer.flush();
  writer.close();
  t.deepEqual(transport.calls, ['write 1', 'write 1', 'eof', 'close']);
  writerOutlet(writer).connectionLost(null);
  t.is(writer.writeEof(), eof);
});

test('close during a half-close: the EOF is sent, then the connection is closed', async (t) => {
  const { transport, writer } = make(true);
  writer.write('a');
  const eof = writer.writeEof();
  writer.close();
  transport.unclog();
  t.deepEqual(transport.calls, ['write 1', 'eof', 'close']);
  await eof;
});

test('writeEof on a transport without half-close rejects with ERR_WRITE_EOF_UNSUPPORTED', async (t) => {
  const { transport, writer } = make();
  transport.canWriteEof = false;
  t.false(writer.canWriteEof());
  // This rejection need not be handled.
  void writer.writeEof();
  await t.throwsAsync(writer.writeEof(), { instanceOf: StateError, code: 'ERR_WRITE_EOF_UNSUPPORTED' });
  writer.write('still open');
  t.is(transport.text, 'still open');
});

// Signals

test('a signal ends the wait with its reason, and has no other effect', async (t) => {
  const { transport, writer } = make(true);
  writer.write(Buffer.alloc(70 * KB));
  const reason = new Error('enough');
  for (const wait of ['drain', 'flush', 'waitClosed'] as const) {
    const { signal, abort, listeners } = counted();
    const waiting = writer[wait]({ signal });
    t.is(listeners(), 1);
    abort(reason);
    await t.throwsAsync(waiting, { is: reason });
    await t.throwsAsync(writer[wait]({ signal }), { is: reason }, 'aborted before');
    t.is(await state(writer[wait]({ signal: new AbortController().signal })), 'pending');
    await t.throwsAsync(writer[wait]({ signal: {} as AbortSignal }), { code: 'ERR_INVALID_ARG_TYPE' });
    await t.throwsAsync(writer[wait](null as unknown as object), { code: 'ERR_INVALID_ARG_TYPE' });
  }
  const { signal, listeners } = counted();
  const waits = [writer.drain({ signal }), writer.flush({ signal })];
  const lost = writer.waitClosed({ signal });
  t.is(listeners(), 3);
  transport.unclog();
  await Promise.all(waits);
  await turns(1);
  t.is(listeners(), 1);
  t.is(transport.taken[0]?.length, 70 * KB);
  writerOutlet(writer).connectionLost(new Error('gone'));
  await t.throwsAsync(lost, { message: 'gone' });
  await turns(1);
  t.is(listeners(), 0);
});

// Fairness

test('loops that await only the writer let the event loop turn', async (t) => {
  const loops: Record<string, (writer: StreamWriter) => Promise<void>> = {
    'write, drain': async (writer) => {
      writer.write('tick');
      await writer.drain();
    },
    'await write': (writer) => writer.write('tick'),
    'await write of nothing': (writer) => writer.write(''),
    drain: (writer) => writer.drain(),
    'large writes': (writer) => writer.write(Buffer.alloc(64 * KB)),
  };
  for (const [name, step] of Object.entries(loops)) {
    const { writer } = make();
    let turned = false;
    let steps = 0;
    setImmediate(() => {
      turned = true;
    });
    while (!turned && steps < 100_000) {
      await step(writer);
      steps++;
    }
    t.true(turned, `${name}: ${steps} steps`);
    t.true(steps < 10_000, `${name}: ${steps} steps`);
  }
});

test('drain waits for a loss that is not reported yet', async (t) => {
  const { transport, writer } = make();
  transport.isClosing = true;
  t.true(writer.isClosing());
  writer.write('into the void');
  const drain = writer.drain();
  const flush = writer.flush();
  t.is(await state(drain), 'pending');
  t.is(await state(flush), 'pending');
  writerOutlet(writer).connectionLost(new ConnectionError('EPIPE', 'write: broken pipe'));
  await t.throwsAsync(drain, { code: 'EPIPE' });
  await t.throwsAsync(flush, { code: 'EPIPE' });
});

test('getExtraInfo asks the transport, and falls back to the default', (t) => {
  const { transport, writer } = make();
  t.is(writer.getExtraInfo('peername'), 'nobody');
  t.is(writer.getExtraInfo('cipher'), undefined);
  t.is(writer.getExtraInfo('cipher', 'none'), 'none');
  t.is(writer.transport, transport);
});

// A model

test('any sequence of calls delivers the bytes in order, each once', async (t) => {
  let random = seed(t) >>> 0;
  const below = (n: number): number => {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    return Math.floor((random / 2 ** 32) * n);
  };
  for (let round = 0; round < 200; round++) {
    const { transport, writer } = make(below(2) === 0);
    if (below(2) === 0) writer.setWriteBufferLimits({ high: below(5000) });
    const expected: Buffer[] = [];
    const piece = (): Buffer | string => {
      const size = [0, below(10), below(500), below(5000), below(40_000)][below(5)] ?? 0;
      const text = String.fromCharCode(0x41 + below(26), 0xe0 + below(26)).repeat(size / 2);
      const data = below(2) === 0 ? text : Buffer.from(text);
      expected.push(Buffer.from(data as string));
      return data;
    };
    for (let step = 0; step < 60; step++) {
      switch (below(8)) {
        case 0:
          writer.writelines(Array.from({ length: below(6) }, piece));
          break;
        case 1:
          transport.unclog(below(2) === 0);
          break;
        case 2:
          transport.clogged = true;
          break;
        case 3:
          await turns(1);
          break;
        case 4:
          writer.flush();
          break;
        default:
          writer.write(piece());
      }
    }
    const total = Buffer.concat(expected);
    t.is(writer.bytesWritten, total.length);
    const flushed = writer.flush();
    while (writer.writeBufferSize > 0) transport.unclog();
    await flushed;
    t.true(Buffer.concat(transport.taken).equals(total));
    await turns(1);
    t.is(writer.writeBufferSize, 0);
  }
});

// Over sockets

async function connected(
  t: ExecutionContext,
): Promise<{ writer: StreamWriter; sink: RecordingSink; transport: SocketTransport; peer: net.Socket }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const [[peer], transport] = await Promise.all([
    once(server, 'connection') as Promise<[net.Socket]>,
    SocketTransport.connect({ host: '127.0.0.1', port }),
  ]);
  const writer = new StreamWriter(transport);
  const sink = new RecordingSink();
  const closed = sink.closed.bind(sink);
  sink.closed = (error) => {
    closed(error);
    writerOutlet(writer).connectionLost(error);
  };
  transport.start(sink);
  peer.on('error', () => {
    // Only our side is tested.
  });
  t.teardown(async () => {
    writer.abort();
    peer.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { writer, sink, transport, peer };
}

test('over a socket: everything arrives, with back-pressure', async (t) => {
  const { writer, peer } = await connected(t);
  const sent = createHash('sha256');
  const got = createHash('sha256');
  let bytes = 0;
  peer.on('data', (chunk: Buffer) => {
    got.update(chunk);
    bytes += chunk.length;
  });
  const ended = once(peer, 'end');
  peer.resume();
  let most = 0;
  for (let i = 0; i < 400; i++) {
    const piece = Buffer.alloc(i % 3 === 0 ? 50_000 : i, i);
    sent.update(piece);
    await writer.write(piece);
    most = Math.max(most, writer.writeBufferSize);
  }
  await writer.writeEof();
  await ended;
  t.is(bytes, writer.bytesWritten);
  t.is(got.digest('hex'), sent.digest('hex'));
  t.true(most <= 65536 + 50_000, `${most} bytes buffered`);
});

test('over a socket: a clogged peer makes drain wait, and close delivers everything', async (t) => {
  const { writer, peer } = await connected(t);
  let waits = 0;
  const piece = Buffer.alloc(64 * KB, 'p');
  let drain = writer.drain();
  for (let i = 0; i < 1000 && waits === 0; i++) {
    writer.write(piece);
    drain = writer.drain();
    if ((await state(drain)) === 'pending') waits++;
  }
  t.is(waits, 1);
  t.true(writer.writeBufferSize > 64 * KB);
  const closed = writer.close();
  let bytes = 0;
  peer.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  peer.resume();
  await once(peer, 'end');
  t.is(bytes, writer.bytesWritten);
  peer.end();
  await closed;
});

test('over a socket: a loop of write and drain against a dead peer ends', async (t) => {
  for (const way of ['reset', 'closed'] as const) {
    const { writer, peer } = await connected(t);
    if (way === 'reset') peer.resetAndDestroy();
    else peer.destroy();
    let loops = 0;
    const error = await t.throwsAsync(
      async () => {
        for (; loops < 1_000_000; loops++) {
          writer.write('x');
          await writer.drain();
        }
      },
      { instanceOf: ConnectionError },
    );
    t.true(['EPIPE', 'ECONNRESET'].includes(error.code), error.code);
    t.true(loops < 1_000_000, `${way}: ${loops} loops`);
    await t.throwsAsync(writer.close());
    await t.throwsAsync(writer.write('y'), { instanceOf: ConnectionError, code: error.code });
  }
});

test('over a socket: abort with a full queue rejects flush, and close resolves', async (t) => {
  const { writer, sink } = await connected(t);
  for (let i = 0; i < 64; i++) writer.write(Buffer.alloc(256 * KB));
  const flush = writer.flush();
  writer.abort();
  await t.throwsAsync(flush, reset);
  await writer.close();
  t.deepEqual(sink.closes, [null]);
});

test('over a socket: after a half-close the answer of the peer is received', async (t) => {
  const { writer, sink, peer } = await connected(t);
  const question: Buffer[] = [];
  peer.on('data', (chunk: Buffer) => question.push(chunk));
  peer.on('end', () => peer.end('answer'));
  peer.resume();
  writer.write('ques');
  writer.write('tion');
  await writer.writeEof();
  await sink.until(() => sink.eofs === 1);
  t.is(sink.text, 'answer');
  t.is(Buffer.concat(question).toString(), 'question');
  await writer.close();
});

test('inspect shows the state of a writer', (t) => {
  const { writer } = make(true);
  writer.write('abcd');
  t.is(inspect(writer), 'StreamWriter { buffered: 4, high: 65536, low: 16384 }');
  void writer.close();
  t.is(inspect(writer), 'StreamWriter { buffered: 4, high: 65536, low: 16384, closing }');
  writerOutlet(writer).connectionLost(new Error('cut'));
  t.is(inspect(writer), "StreamWriter { buffered: 0, high: 65536, low: 16384, closed, exception: 'cut' }");
});

test('close passes closeTimeout to the transport', (t) => {
  for (const [options, expected] of [
    [undefined, 30_000],
    [{}, 30_000],
    [{ closeTimeout: 5 }, 5],
    [{ closeTimeout: Infinity }, Infinity],
  ] as const) {
    const transport = new FakeTransport();
    const writer = new StreamWriter(transport, options);
    void writer.close();
    t.is(transport.closeTimeout, expected);
    t.deepEqual(transport.calls, ['close']);
  }
  t.throws(() => new StreamWriter(new FakeTransport(), { closeTimeout: 0 }), { code: 'ERR_OUT_OF_RANGE' });
  t.throws(() => new StreamWriter(new FakeTransport(), 5 as never), { code: 'ERR_INVALID_ARG_TYPE' });
});
