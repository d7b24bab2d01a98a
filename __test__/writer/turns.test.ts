/** When the writes of one turn of the event loop are sent, if they answer bytes that have arrived. */
// Runs once: the transport is not real. The tests are serial because the turn is one for all writers of a thread.
/* eslint @typescript-eslint/no-floating-promises: off -- what is written need not be awaited: that is part of the test */
import test from 'ava';
import { Stream } from '#ts/stream/stream.js';
import type { TransportSink } from '#ts/transports/transport.js';
import { turns } from '../transport-contract.js';
import { FakeTransport } from './fake-transport.js';

class Fed extends FakeTransport {
  sink!: TransportSink;

  override start(sink: TransportSink): void {
    this.sink = sink;
  }

  override resumeReading(): void {}

  receive(text: string): void {
    this.sink.feed(Buffer.from(text));
  }
}

function fed(): { transport: Fed; stream: Stream } {
  const transport = new Fed();
  return { transport, stream: new Stream(transport) };
}

/** Answers each line with `reply`. */
async function serve(stream: Stream, reply: (line: string) => void): Promise<void> {
  for (let line; (line = await stream.readline()).length > 0;) reply(line.toString().trim());
}

async function hops(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

test.serial(
  'the answers to many requests that arrive together are two batches the first time, and then one',
  async (t) => {
    const { transport, stream } = fed();
    serve(stream, (line) => {
      stream.write(line);
    });
    for (const batches of [['write 1', 'write 99'], ['write 100'], ['write 100']]) {
      transport.receive('a\n'.repeat(100));
      await turns(2);
      t.deepEqual(transport.calls.splice(0), batches);
    }
  },
);

test.serial(
  'after the answers to many requests, the answer to one is sent as soon as the handler waits again',
  async (t) => {
    const { transport, stream } = fed();
    serve(stream, (line) => {
      stream.write(line);
    });
    transport.receive('a\n'.repeat(100));
    await turns(2);
    transport.calls.length = 0;
    transport.receive('request\n');
    await hops(5);
    t.deepEqual(transport.calls.splice(0), ['write 7']);
    stream.write('later');
    t.deepEqual(transport.calls, ['write 5']);
  },
);

test.serial(
  'after a turn with three writes, the first write of the next is sent at once; after one with four it is not',
  async (t) => {
    const { transport, stream } = fed();
    for (const [count, sent] of [
      [3, ['write 1', 'write 2', 'write 4']],
      [4, ['write 1', 'write 3']],
    ] as const) {
      for (let i = 0; i < count; i++) stream.write('x');
      await turns(2);
      stream.write('next');
      t.deepEqual(transport.calls.splice(0), sent);
      await turns(2);
      transport.calls.length = 0;
    }
  },
);

test.serial(
  'after a turn with many writes: flush, writeEof, and data that is not copied, do not wait for the end of the turn',
  async (t) => {
    const large = Buffer.alloc(5000);
    for (const [act, sent] of [
      [(stream: Stream) => stream.write(large), ['write 5000']],
      [(stream: Stream) => [stream.write('next'), stream.flush()], ['write 4']],
      [(stream: Stream) => [stream.write('next'), stream.writeEof()], ['write 4', 'eof']],
    ] as const) {
      const { transport, stream } = fed();
      for (let i = 0; i < 10; i++) stream.write('x');
      await turns(2);
      transport.calls.length = 0;
      act(stream);
      t.deepEqual(transport.calls, sent);
    }
  },
);

test.serial('a write after the answer to a request, in a later turn, is sent at once', async (t) => {
  const { transport, stream } = fed();
  serve(stream, (line) => {
    stream.write(line);
  });
  for (let round = 0; round < 3; round++) {
    transport.receive('request\n');
    await turns(2);
    stream.write('later');
    t.is(stream.writeBufferSize, 0);
    t.deepEqual(transport.calls.splice(0), ['write 7', 'write 5']);
    await turns(2);
  }
});

test.serial(
  'writes that follow the answer in the same turn are coalesced, however many microtasks later',
  async (t) => {
    const { transport, stream } = fed();
    let over: Promise<void> | undefined;
    serve(stream, (line) => {
      stream.write(line);
      over = (async () => {
        for (let i = 0; i < 50; i++) {
          await hops(3);
          stream.write('more');
        }
      })();
    });
    for (let round = 0; round < 3; round++) {
      transport.receive('request\n');
      await hops(3);
      await over;
      await turns(2);
      // The handler was waiting again after the answer, so a second write was sent at once; the turn after that is not ended early.
      t.deepEqual(transport.calls.splice(0), ['write 7', 'write 4', `write ${49 * 4}`]);
    }
  },
);

test.serial('messages from one stream to another, whose read waits, are two batches', async (t) => {
  const { transport: from, stream: sender } = fed();
  const { transport: to, stream: receiver } = fed();
  serve(receiver, () => {});
  serve(sender, (line) => {
    sender.write('ok');
    receiver.write(line);
  });
  await turns(1);
  from.receive('message\n'.repeat(50));
  await turns(2);
  t.deepEqual(to.calls, ['write 7', `write ${49 * 7}`]);
  t.deepEqual(from.calls, ['write 2', `write ${49 * 2}`]);
});

test.serial('writers that have written in one turn are served in the order of their first writes', async (t) => {
  const order: number[] = [];
  const streams = [0, 1, 2].map((i) => {
    const { transport, stream } = fed();
    const write = transport.writev.bind(transport);
    transport.writev = (pieces, done) => {
      order.push(i);
      return write(pieces, done);
    };
    return stream;
  });
  for (const stream of [...streams, ...streams.toReversed()]) stream.write('x');
  await turns(2);
  t.deepEqual(order, [0, 1, 2, 0, 1, 2]);
});
