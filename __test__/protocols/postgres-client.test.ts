/** The Postgres client of the examples against servers that cut their answers short, change them or add to them. */
// Runs once: the examples use only the public calls of a stream, and each way of reading has its own tests of sockets.
import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { IncompleteReadError, LimitOverrunError } from 'sluice';
import { Client } from '../../examples/protocols/postgres/client.js';
import { fromUrl, type Options } from '../../examples/protocols/postgres/connection.js';
import { PostgresError, ProtocolError } from '../../examples/protocols/postgres/postgres.js';
import { certificates } from '../certificates.js';
import { deferred, listen, turns } from '../loopback.js';
import {
  INT4,
  READY,
  TEXT,
  WELCOME,
  columns,
  complete,
  failure,
  int16,
  int32,
  message,
  row,
} from './postgres-bytes.js';

/** A server that answers the first thing it receives with `first`, and the next with `second`; then it ends the connection. */
async function scripted(t: ExecutionContext, first: Buffer, second: Buffer | null = Buffer.alloc(0)): Promise<Options> {
  const { port } = await listen(t, (socket) => {
    socket.once('data', () => {
      if (second === null) return void socket.write(first);
      socket.write(first);
      socket.once('data', () => socket.end(second));
      socket.once('end', () => socket.end());
    });
  });
  return { port, user: 'tester', password: 'secret' };
}

/** A server whose answers can change from one connection to the next. */
async function changing(
  t: ExecutionContext,
): Promise<{ options: Options; answers: { first: Buffer; second: Buffer } }> {
  const answers = { first: WELCOME, second: Buffer.alloc(0) };
  const { port } = await listen(t, (socket: Socket) => {
    const { first, second } = answers;
    socket.once('data', () => {
      if (first !== WELCOME) return void socket.end(first);
      socket.write(first);
      socket.once('data', () => socket.end(second));
    });
  });
  return { options: { port, user: 'tester', password: 'secret' }, answers };
}

const REPLY = Buffer.concat([
  message('1'),
  message('2'),
  columns(INT4, TEXT),
  row('1', 'one'),
  row('2', null),
  complete('SELECT 2'),
  READY,
]);

/** A client that could use its connection has been cut off: every request rejects with this one error. */
async function ended(t: ExecutionContext, client: Client, what: string): Promise<Error> {
  const queries = [client.query('SELECT 1'), client.query('SELECT 2'), client.simple('SELECT 3')];
  const errors = await Promise.all(queries.map((query) => t.throwsAsync(query, undefined, what)));
  const [one, ...others] = errors as [Error, ...Error[]];
  for (const other of others) t.is(other, one, what);
  t.is(await t.throwsAsync(client.query('SELECT 4')), one, what);
  await client.close();
  return one;
}

test('a login that ends at any byte is one error', async (t) => {
  const { options, answers } = await changing(t);
  for (let at = 0; at < WELCOME.length; at++) {
    answers.first = WELCOME.subarray(0, at);
    const error = await t.throwsAsync(Client.connect(options));
    t.true(
      error instanceof IncompleteReadError || error.message.includes('closed the connection'),
      `${at}: ${error.message}`,
    );
  }
});

test('a login in which any byte is wrong succeeds or is one error', async (t) => {
  const { options, answers } = await changing(t);
  let errors = 0;
  for (let at = 0; at < WELCOME.length; at++) {
    for (const wrong of [0, 0xff, WELCOME[at]! ^ 1]) {
      answers.first = Buffer.from(WELCOME);
      answers.first[at] = wrong;
      try {
        await (await Client.connect(options)).close();
      } catch (error) {
        errors++;
        t.regex((error as Error).name, /^(ProtocolError|IncompleteReadError|LimitOverrunError|FrameError|Error)$/);
        t.regex((error as Error).message, /^(postgres|readframe): /);
      }
    }
  }
  t.true(errors > WELCOME.length);
});

test('a reply that ends at any byte is one error, of this request and of all others', async (t) => {
  const { options, answers } = await changing(t);
  for (let at = 0; at < REPLY.length; at++) {
    answers.second = REPLY.subarray(0, at);
    const error = await ended(t, await Client.connect(options), `${at} bytes`);
    t.true(
      error instanceof IncompleteReadError || error.message.includes('closed the connection'),
      `${at}: ${error.message}`,
    );
  }
});

test('a reply in which any byte is wrong is a result or one error', async (t) => {
  const { options, answers } = await changing(t);
  let errors = 0;
  for (let at = 0; at < REPLY.length; at++) {
    for (const wrong of [0, 0xff, REPLY[at]! ^ 1]) {
      answers.second = Buffer.from(REPLY);
      answers.second[at] = wrong;
      const client = await Client.connect(options);
      try {
        await client.query('SELECT 1');
      } catch (error) {
        errors++;
        t.regex((error as Error).name, /^(ProtocolError|IncompleteReadError|LimitOverrunError|FrameError|Error)$/);
        t.regex((error as Error).message, /^(postgres|readframes|tryReadframes): /);
        t.is(await t.throwsAsync(client.query('SELECT 2')), error as Error);
      }
      await client.close();
    }
  }
  t.true(errors > REPLY.length);
});

test('what the server says before it closes the connection is the error', async (t) => {
  const fatal = failure('57P01', 'terminating connection', 'FATAL');
  const error = await ended(t, await Client.connect(await scripted(t, WELCOME, fatal)), 'a query');
  t.true(error instanceof PostgresError);
  t.like(error, { code: '57P01', message: 'terminating connection', fatal: true });

  const refused = await scripted(t, failure('28000', 'no such user', 'FATAL'));
  await t.throwsAsync(Client.connect(refused), { instanceOf: PostgresError, message: 'no such user' });
});

test('a message over the limit is one error before it has arrived', async (t) => {
  const huge = Buffer.concat([columns(INT4), Buffer.from('D'), int32(0x7fffffff)]);
  const options = await scripted(t, WELCOME, huge);
  t.true((await ended(t, await Client.connect(options), 'a row')) instanceof LimitOverrunError);
  const endless = await scripted(t, Buffer.concat([Buffer.from('S'), int32(65536)]), null);
  await t.throwsAsync(Client.connect(endless), { instanceOf: LimitOverrunError });
});

test('rows without an end are one error when they exceed maxResult', async (t) => {
  const rows = Buffer.concat([columns(TEXT), ...new Array<Buffer>(2000).fill(row('x'.repeat(100)))]);
  const { port } = await listen(t, (socket) => {
    socket.once('data', () => {
      socket.write(WELCOME);
      socket.once('data', () => {
        const more = (): void => {
          socket.write(rows.subarray(columns(TEXT).length), (error) => {
            if (!error) more();
          });
        };
        socket.write(rows);
        more();
      });
    });
  });
  const client = await Client.connect({ port, user: 'tester', maxResult: 1_000_000 });
  await t.throwsAsync(client.query('SELECT 1'), { instanceOf: RangeError, message: /more than 1000000 bytes/ });
  await client.close();
});

test('requests that were sent together share the error of the first reply that is malformed', async (t) => {
  const client = await Client.connect(await scripted(t, WELCOME, Buffer.concat([REPLY, message('?'), REPLY])));
  const [first, ...others] = ['SELECT 1', 'SELECT 2', 'SELECT 3'].map((sql) => client.query(sql));
  t.deepEqual((await first!).rows, [
    [1, 'one'],
    [2, null],
  ]);
  for (const other of others) await t.throwsAsync(other, { instanceOf: ProtocolError });
  await client.close();
});

test('a reply with no result or with several is an error for one statement', async (t) => {
  for (const reply of [READY, Buffer.concat([complete('A'), complete('B'), READY])]) {
    const client = await Client.connect(await scripted(t, WELCOME, reply));
    await t.throwsAsync(client.query('SELECT 1'), { instanceOf: ProtocolError, message: /results for one statement/ });
    await client.close();
  }
});

test('a COPY by query ends the connection with an error that names the right method', async (t) => {
  for (const [type, method] of [
    ['G', 'copyIn'],
    ['H', 'copyOut'],
  ] as const) {
    const client = await Client.connect(await scripted(t, WELCOME, message(type, '\0', int16(0))));
    t.true((await ended(t, client, method)).message.includes(`${method}()`));
  }
});

test('a server without TLS is refused if TLS is wanted', async (t) => {
  for (const [answer, reason] of [
    ['N', /does not support TLS/],
    ['E', /does not support TLS/],
    ['', /0 bytes read before EOF/],
  ] as const) {
    const { port } = await listen(t, (socket) => void socket.once('data', () => socket.end(answer)));
    await t.throwsAsync(Client.connect({ port, user: 'tester', ssl: true }), { message: reason });
  }
});

test('plain text after the answer to an SSLRequest is refused', async (t) => {
  const { ca } = await certificates();
  for (const rest of [WELCOME, failure('28000', 'from an attacker')]) {
    const { port } = await listen(
      t,
      (socket) => void socket.once('data', () => socket.write(Buffer.concat([Buffer.from('S'), rest]))),
    );
    const error = await t.throwsAsync(
      Client.connect({ port, user: 'tester', ssl: { ca }, serverHostname: 'localhost' }),
    );
    t.is((error as NodeJS.ErrnoException).code, 'ERR_TLS_PLAINTEXT_PENDING');
  }
});

test('a server that never answers ends the attempt to connect after the timeout', async (t) => {
  const { port } = await listen(t);
  for (const ssl of [undefined, true] as const) {
    await t.throwsAsync(Client.connect({ port, user: 'tester', ssl, timeout: 50 }), { code: 'ERR_TIMEOUT' });
  }
});

test('abort() rejects the requests that wait, with the reason', async (t) => {
  const client = await Client.connect(await scripted(t, WELCOME, null));
  const queries = [client.query('SELECT 1'), client.query('SELECT 2')];
  client.abort();
  for (const query of queries) await t.throwsAsync(query, { message: /aborted/ });
  await t.throwsAsync(client.query('SELECT 3'), { message: /aborted/ });
  await client.close();
});

test('close() waits for the replies, says goodbye, and refuses other requests', async (t) => {
  const received = deferred<Buffer>();
  const { port } = await listen(t, (socket) => {
    socket.once('data', () => {
      socket.write(WELCOME);
      socket.once('data', () => {
        socket.on('data', (data: Buffer) => received.resolve(data));
        setImmediate(() => socket.write(REPLY));
        socket.once('end', () => socket.end());
      });
    });
  });
  const client = await Client.connect({ port, user: 'tester' });
  const query = client.query('SELECT 1');
  const closed = client.close();
  await t.throwsAsync(client.query('SELECT 2'), { message: /closed/ });
  t.is((await query).count, 2);
  t.is((await received.promise).toString('latin1'), 'X\0\0\0\x04');
  await closed;
});

test('the data of a COPY is not sent any more once the server has refused it', async (t) => {
  const { port } = await listen(t, (socket) => {
    socket.once('data', () => {
      socket.write(WELCOME);
      socket.once('data', () => {
        socket.write(message('G', '\0', int16(1), int16(0)));
        socket.once('data', () => {
          socket.write(Buffer.concat([failure('22P02', 'invalid input'), READY]));
          socket.resume();
        });
      });
    });
  });
  const client = await Client.connect({ port, user: 'tester' });
  let left = false;
  async function* source(): AsyncGenerator<string> {
    try {
      for (;;) {
        yield 'x\n';
        await turns(1);
      }
    } finally {
      left = true;
    }
  }
  await t.throwsAsync(client.copyIn('COPY t FROM STDIN', source()), { instanceOf: PostgresError, code: '22P02' });
  await turns(2);
  t.true(left);
  await client.close();
});

test('a reply that is malformed while the data of a COPY is sent is one error', async (t) => {
  const { port } = await listen(t, (socket) => {
    socket.once('data', () => {
      socket.write(WELCOME);
      socket.once('data', () => {
        socket.write(message('G', '\0', int16(1), int16(0)));
        socket.once('data', () => socket.write(message('?')));
      });
    });
  });
  const client = await Client.connect({ port, user: 'tester' });
  async function* source(): AsyncGenerator<string> {
    for (;;) {
      yield 'x\n';
      await turns(1);
    }
  }
  const error = await t.throwsAsync(client.copyIn('COPY t FROM STDIN', source()), { instanceOf: ProtocolError });
  t.is(await t.throwsAsync(client.query('SELECT 1')), error);
});

/** Answers each message of the client, by its type, with what the function returns, and ends the connection if that is null. */
async function answering(
  t: ExecutionContext,
  answer: (type: string, count: number) => Buffer | null,
): Promise<{ options: Options; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const { port } = await listen(t, (socket) => {
    sockets.push(socket);
    socket.once('data', () => {
      socket.write(WELCOME);
      let bytes = Buffer.alloc(0);
      let count = 0;
      socket.on('data', (piece: Buffer) => {
        bytes = Buffer.concat([bytes, piece]);
        while (bytes.length >= 5 && bytes.length > bytes.readInt32BE(1)) {
          const answered = answer(String.fromCharCode(bytes[0]!), count++);
          if (answered === null) socket.end();
          else socket.write(answered);
          bytes = bytes.subarray(1 + bytes.readInt32BE(1));
        }
      });
      socket.once('end', () => socket.end());
    });
  });
  return { options: { port, user: 'tester' }, sockets };
}

const NOTHING = Buffer.alloc(0);
const COPY_IN = message('G', '\0', int16(1), int16(0));

test('if the connection ends while the rest of unread rows is dropped, the requests after it reject', async (t) => {
  const rows = Buffer.concat([columns(INT4), row('1')]);
  const { options, sockets } = await answering(t, (type, count) => (type === 'E' && count < 4 ? rows : NOTHING));
  const client = await Client.connect(options);
  const left = (async (): Promise<void> => {
    for await (const batch of client.rows('SELECT 1')) {
      t.deepEqual(batch, [[1]]);
      setImmediate(() => sockets[0]!.end());
      break;
    }
  })();
  const next = t.throwsAsync(client.query('SELECT 2'));
  const closed = client.close();
  t.is(await t.throwsAsync(left, { message: /closed the connection/ }), await next);
  await closed;
});

test('abort() and close() do not wait for rows that the program does not read', async (t) => {
  const rows = Buffer.concat([columns(INT4), row('1')]);
  const { options } = await answering(t, (type) => (type === 'E' ? rows : NOTHING));
  const client = await Client.connect(options);
  const batches = client.rows('SELECT 1');
  t.deepEqual((await batches.next()).value, [[1]]);
  const next = client.query('SELECT 2');
  const closed = client.close();
  client.abort();
  await t.throwsAsync(next, { message: /aborted/ });
  await closed;
  await t.throwsAsync(batches.next(), { message: /aborted/ });
});

test('a COPY whose source is waiting ends with the connection, or when the server refuses the data', async (t) => {
  const refusal = Buffer.concat([failure('57014', 'canceled'), READY]);
  for (const [answer, reason] of [
    [null, /closed the connection/],
    [refusal, /canceled/],
    ['abort', /aborted/],
  ] as const) {
    const { options } = await answering(t, (type) =>
      type === 'Q' ? COPY_IN : type !== 'd' || answer === 'abort' ? NOTHING : answer,
    );
    const client = await Client.connect(options);
    const never = deferred<undefined>();
    let left = false;
    const source = async function* (): AsyncGenerator<string> {
      try {
        yield 'x\n';
        if (answer === 'abort') setImmediate(() => client.abort());
        await never.promise;
      } finally {
        left = true;
      }
    };
    await t.throwsAsync(client.copyIn('COPY t FROM STDIN', source()), { message: reason });
    t.false(left);
    never.resolve(undefined);
    await turns(1);
    t.true(left);
    await client.close();
  }
});

test('a source that fails after the COPY is over is no unhandled rejection', async (t) => {
  const { options } = await answering(t, (type) => (type === 'Q' ? COPY_IN : type === 'd' ? null : NOTHING));
  const client = await Client.connect(options);
  const never = deferred<undefined>();
  const source = async function* (): AsyncGenerator<string> {
    yield 'x\n';
    await never.promise;
  };
  await t.throwsAsync(client.copyIn('COPY t FROM STDIN', source()), { message: /closed the connection/ });
  never.reject(new Error('too late'));
  await turns(2);
});

test('maxMessage does not bound what a COPY sends', async (t) => {
  let sent = 0;
  const done = Buffer.concat([complete('COPY 1'), READY]);
  const { options } = await answering(t, (type) => {
    if (type === 'd') sent++;
    return type === 'Q' ? COPY_IN : type === 'c' ? done : NOTHING;
  });
  await using client = await Client.connect({ ...options, maxMessage: 1000 });
  t.is((await client.copyIn('COPY t FROM STDIN', ['x'.repeat(3_000_000)])).count, 1);
  t.is(sent, 3);
});

test('close() also waits for requests that have waited for a COPY', async (t) => {
  const done = Buffer.concat([complete('COPY 1'), READY]);
  const { options } = await answering(t, (type, count) => {
    if (type === 'S') return REPLY;
    return type === 'Q' && count === 0 ? COPY_IN : type === 'c' ? done : NOTHING;
  });
  const client = await Client.connect(options);
  const copied = client.copyIn('COPY t FROM STDIN', ['1\n']);
  const queries = [client.query('SELECT 1'), client.query('SELECT 2')];
  await client.close();
  t.is((await copied).count, 1);
  for (const query of queries) t.is((await query).count, 2);
});

test('the timeout of a login is one for all messages of the server', async (t) => {
  const { port } = await listen(t, (socket) => {
    socket.once('data', () => {
      const drip = setInterval(() => socket.write(message('N', 'SNOTICE\0Mwait\0\0')), 5);
      socket.once('close', () => clearInterval(drip));
    });
  });
  await t.throwsAsync(Client.connect({ port, user: 'tester', timeout: 100 }), { code: 'ERR_TIMEOUT' });
});

test('what onNotice throws or rejects with goes to onError, and the connection goes on', async (t) => {
  const bug = new Error('a bug');
  const failures: NonNullable<Options['onNotice']>[] = [
    () => {
      throw bug;
    },
    () => Promise.reject(bug),
    () => ({ then: (_, reject) => void reject?.(bug) as never }),
  ];
  for (const onNotice of failures) {
    const notice = message('N', 'SNOTICE\0MHi\0\0');
    const options = await scripted(t, WELCOME, Buffer.concat([notice, complete('SELECT 0'), READY]));
    const reported = deferred<unknown>();
    const client = await Client.connect({ ...options, onNotice, onError: reported.resolve });
    t.like(await client.simple('SELECT'), [{ command: 'SELECT 0' }]);
    t.is(await reported.promise, bug);
    await client.close();
  }
});

test('a URL names the user, the password, the server, the database and TLS', (t) => {
  const none = { password: undefined, host: undefined, port: undefined, database: undefined, ssl: undefined };
  t.deepEqual(fromUrl('postgres://a%40b:c%2Fd@[::1]:5433/e%20f?sslmode=verify-full'), {
    ...{ user: 'a@b', password: 'c/d', host: '::1', port: 5433, database: 'e f', ssl: true },
  });
  t.deepEqual(fromUrl('postgresql://u@h'), { ...none, user: 'u', host: 'h' });
  t.deepEqual(fromUrl('postgres://u@h?sslmode=require').ssl, { rejectUnauthorized: false });
  t.is(fromUrl('postgres://u@localhost/d?host=/tmp').host, '/tmp');
  t.throws(() => fromUrl('mysql://u@h'), { instanceOf: TypeError });
  t.throws(() => fromUrl('postgres://u@h?sslmode=prefer'), { instanceOf: TypeError, message: /prefer/ });
});
