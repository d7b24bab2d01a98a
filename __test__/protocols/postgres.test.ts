/** The parts of the Postgres example that do without sockets: replies, rows, requests and logins. */
// Runs once: the examples use only the public calls of a reader, which have tests of their own for each engine.
import { Buffer } from 'node:buffer';
import test, { type ExecutionContext } from 'ava';
import { FrameError, IncompleteReadError, LimitOverrunError, StreamReader } from 'sluice';
import { Login, Scram, md5Password } from '../../examples/protocols/postgres/login.js';
import { Body, PostgresError, ProtocolError, messages } from '../../examples/protocols/postgres/postgres.js';
import { Batch, Reply, type Copy, type Session } from '../../examples/protocols/postgres/reply.js';
import * as requests from '../../examples/protocols/postgres/requests.js';
import { seed } from '../seed.js';
import {
  BOOL,
  FLOAT8,
  INT4,
  READY,
  TEXT,
  columns,
  complete,
  failure,
  int16,
  int32,
  message,
  row,
} from './postgres-bytes.js';

const FRAMING = messages(100_000);

interface Read {
  readonly reply: Reply;
  readonly session: Session;
  readonly left: number;
}

/** What a reply becomes that arrives in these pieces. */
function read(pieces: readonly Buffer[], copy: Copy = null): Read {
  const reader = new StreamReader();
  const session: Session = { parameters: new Map(), transaction: '' };
  const reply = new Reply(session, copy);
  const batch = new Batch();
  const accept = (): void => {
    for (let frames; !reply.ready && (frames = reader.tryReadframes(FRAMING)) !== undefined;) {
      if (frames.length === 0) return;
      batch.fill(frames);
      reply.accept(batch);
    }
  };
  for (const piece of pieces) {
    reader.feedData(piece);
    accept();
  }
  reader.feedEof();
  accept();
  return { reply, session, left: batch.bytes.length - batch.start + reader.buffered };
}

/** Everything that a test can compare. */
function known({ reply, session, left }: Read): unknown {
  const { results, error, rows, chunks, size, ready } = reply;
  const data = Buffer.concat(chunks).toString();
  return { results, error: error?.message, rows, data, size, ready, left, parameters: [...session.parameters] };
}

const LONG = 'ein längerer Text '.repeat(20);
const TYPES = [INT4, TEXT, BOOL, FLOAT8];
const REPLY = Buffer.concat([
  message('1'),
  message('2'),
  message('S', 'TimeZone\0UTC\0'),
  columns(...TYPES),
  row('1', 'one', 't', '1.5'),
  row('-2147483648', '', 'f', '-Infinity'),
  message('N', 'SNOTICE\0MHi\0\0'),
  row(null, null, null, null),
  row('0', 'zwölf €', 't', 'NaN'),
  row('42', LONG, 'f', '1e-7'),
  message('A', int32(1), 'channel\0payload\0'),
  complete('SELECT 5'),
  columns(INT4),
  complete('SELECT 0'),
  message('I'),
  complete('CREATE TABLE'),
  READY,
]);
const ROWS = [
  [1, 'one', true, 1.5],
  [-2147483648, '', false, -Infinity],
  [null, null, null, null],
  [0, 'zwölf €', true, NaN],
  [42, LONG, false, 1e-7],
];

const COPIED = Buffer.concat([
  message('H', '\0', int16(1), int16(0)),
  ...['1\tone\n', '', '2\tzwei\n', `3\t${LONG}\n`].map((line) => message('d', line)),
  message('c'),
  complete('COPY 3'),
  READY,
]);

test('a reply is parsed into a result for each statement', (t) => {
  const { reply, session, left } = read([REPLY]);
  t.true(reply.ready);
  t.is(left, 0);
  t.is(reply.size, REPLY.length);
  t.deepEqual(
    reply.results.map(({ command, count, rows }) => ({ command, count, rows })),
    [
      { command: 'SELECT 5', count: 5, rows: ROWS },
      { command: 'SELECT 0', count: 0, rows: [] },
      { command: '', count: null, rows: [] },
      { command: 'CREATE TABLE', count: null, rows: [] },
    ],
  );
  t.deepEqual(
    reply.results[0]?.fields,
    TYPES.map((type, i) => ({ name: 'abcd'[i]!, type, format: 0 })),
  );
  t.is(session.transaction, 'I');
  t.is(session.parameters.get('TimeZone'), 'UTC');
});

test('the data of a COPY is put together without its messages', (t) => {
  const { reply } = read([COPIED], 'out');
  t.is(Buffer.concat(reply.chunks).toString(), `1\tone\n2\tzwei\n3\t${LONG}\n`);
  t.is(reply.results[0]?.count, 3);
});

test('rows where a COPY is expected are checked, and not kept', (t) => {
  for (const copy of ['in', 'out'] as const) {
    const { reply } = read([REPLY], copy);
    t.true(reply.results.some(({ command }) => command.startsWith('SELECT')));
    for (const { rows } of reply.results) t.deepEqual(rows, []);
  }
});

for (const [what, bytes, copy] of [
  ['rows', REPLY, null],
  ['a COPY', COPIED, 'out'],
] as const) {
  test(`a reply with ${what} that is cut anywhere is the same reply`, (t) => {
    const whole = known(read([bytes], copy));
    t.deepEqual(
      known(
        read(
          Array.from(bytes, (byte) => Buffer.of(byte)),
          copy,
        ),
      ),
      whole,
    );
    for (let at = 1; at < bytes.length; at++) {
      t.deepEqual(known(read([bytes.subarray(0, at), bytes.subarray(at)], copy)), whole, `cut at ${at}`);
    }
  });
}

test('a reply in random pieces is the same reply', (t) => {
  let state = seed(t);
  const next = (n: number): number => (state = (state * 48271 + 11) % 0x7fffffff) % n;
  const many = Buffer.concat([
    columns(TEXT, INT4, TEXT),
    ...Array.from({ length: 3000 }, (_, i) => row('x'.repeat(i % 70), String(i), i % 7 === 0 ? null : `Größe ${i}`)),
    complete('SELECT 3000'),
    READY,
  ]);
  const whole = known(read([many]));
  t.is(read([many]).reply.results[0]?.rows[2999]?.[2], 'Größe 2999');
  for (let round = 0; round < 5; round++) {
    const pieces: Buffer[] = [];
    for (let at = 0; at < many.length;) pieces.push(many.subarray(at, (at += 1 + next(2000))));
    t.deepEqual(known(read(pieces)), whole);
  }
});

test('what follows a reply is left for the next one', (t) => {
  const { reply, left } = read([Buffer.concat([REPLY, REPLY])]);
  t.is(reply.results.length, 4);
  t.is(left, REPLY.length);
});

test('an error ends a reply at ReadyForQuery, and nothing else may follow it', (t) => {
  const error = failure('22012', 'division by zero');
  const { reply } = read([Buffer.concat([columns(INT4), row('1'), error, READY])]);
  t.true(reply.ready);
  t.true(reply.error instanceof PostgresError);
  const { code, message: text, fatal } = reply.error as PostgresError;
  t.deepEqual({ code, text, fatal }, { code: '22012', text: 'division by zero', fatal: false });
  t.true(new PostgresError(new Map([['V', 'FATAL']])).fatal);
  t.throws(() => read([Buffer.concat([columns(INT4), error, row('1'), READY])]), { instanceOf: ProtocolError });
  const shutdown = failure('57P01', 'terminating connection', 'FATAL');
  t.is(read([Buffer.concat([error, shutdown])]).reply.error?.message, 'division by zero');
});

const MALFORMED: Record<string, Buffer> = {
  'a row without columns that are described': row('1'),
  'a row with more columns': Buffer.concat([columns(INT4), row('1', '2')]),
  'a row with fewer columns': Buffer.concat([columns(INT4, INT4), row('1')]),
  'a row that ends in the number of its columns': Buffer.concat([columns(INT4), message('D', '\0')]),
  'a row that ends in a length': Buffer.concat([columns(INT4), message('D', int16(1), '\0\0')]),
  'a value that is longer than its row': Buffer.concat([columns(INT4), message('D', int16(1), int32(2), '1')]),
  'a value that is longer than 2 GiB': Buffer.concat([columns(INT4), message('D', int16(1), int32(0x7fffffff), '1')]),
  'a negative length other than -1': Buffer.concat([columns(INT4), message('D', int16(1), int32(-2))]),
  'bytes after the last value': Buffer.concat([columns(INT4), message('D', int16(1), int32(1), '12')]),
  'letters in an integer': Buffer.concat([columns(INT4), row('1x')]),
  'an empty integer': Buffer.concat([columns(INT4), row('')]),
  'a sign without digits': Buffer.concat([columns(INT4), row('-')]),
  'an integer of too many digits': Buffer.concat([columns(INT4), row('111111111111')]),
  'a boolean other than t and f': Buffer.concat([columns(BOOL), row('x')]),
  'a longer boolean': Buffer.concat([columns(BOOL), row('true')]),
  'a float that is none': Buffer.concat([columns(FLOAT8), row('one')]),
  'an empty float': Buffer.concat([columns(FLOAT8), row('')]),
  'columns within a result': Buffer.concat([columns(INT4), columns(INT4)]),
  'columns whose names do not end': message('T', int16(1), 'name'),
  'more columns than are described': message('T', int16(500), columns(INT4).subarray(7)),
  'bytes after the columns': message('T', int16(1), columns(INT4).subarray(7), 'x'),
  'a binary column': message('T', int16(1), 'a\0', int32(0), int16(0), int32(23), int16(4), int32(-1), int16(1)),
  'a command that does not end': message('C', 'SELECT 1'),
  'an unknown state of the transaction': message('Z', 'X'),
  'ReadyForQuery without a state': message('Z'),
  'ReadyForQuery with more than a state': message('Z', 'II'),
  'an error that does not end': message('E', 'SERROR\0'),
  'a notice that does not end': message('N', 'M'),
  'a parameter without a value': message('S', 'name\0'),
  'an unknown message': message('?'),
  'a suspended portal': message('s'),
  'a login': message('R', int32(0)),
  'COPY data without a COPY': message('d', '1\n'),
  'the end of a COPY without a COPY': message('c'),
  'ParseComplete with a body': message('1', 'x'),
};

for (const [what, bytes] of Object.entries(MALFORMED)) {
  test(`${what} is an error of the protocol`, (t) => {
    t.throws(() => read([Buffer.concat([bytes, READY])]), { instanceOf: ProtocolError, code: 'ERR_POSTGRES_PROTOCOL' });
  });
}

test('a COPY that the caller did not ask for is an error that names the right method', (t) => {
  const copyIn = message('G', '\0', int16(0));
  t.throws(() => read([copyIn]), { message: /copyIn\(\)/ });
  t.throws(() => read([copyIn], 'out'), { message: /copyIn\(\)/ });
  t.throws(() => read([COPIED]), { message: /copyOut\(\)/ });
  t.throws(() => read([COPIED], 'in'), { message: /copyOut\(\)/ });
});

/** Whether reading these bytes ends in a reply or in one of the errors that a user can expect. */
function survives(t: ExecutionContext, bytes: Buffer, copy: Copy, what: string): boolean {
  try {
    read([bytes], copy);
    return true;
  } catch (error) {
    const expected = [ProtocolError, FrameError, LimitOverrunError, IncompleteReadError].some(
      (one) => error instanceof one,
    );
    if (!expected && !/copy(In|Out)\(\)$/.test((error as Error).message)) t.fail(`${what}: ${(error as Error).stack}`);
    return false;
  }
}

test('a reply in which any byte is wrong is a reply or one error', (t) => {
  let errors = 0;
  for (const [bytes, copy] of [
    [REPLY, null],
    [COPIED, 'out'],
  ] as const) {
    for (let at = 0; at < bytes.length; at++) {
      for (const wrong of [0, 0x7f, 0xff, bytes[at]! ^ 1, bytes[at]! ^ 0x80]) {
        const changed = Buffer.from(bytes);
        changed[at] = wrong;
        if (!survives(t, changed, copy, `byte ${at} is ${wrong}`)) errors++;
      }
    }
  }
  t.true(errors > 500);
});

test('a reply that ends anywhere but between messages is an IncompleteReadError', (t) => {
  const ends = new Set([0]);
  for (let at = 0; at < REPLY.length; at += 1 + REPLY.readInt32BE(at + 1)) ends.add(at);
  for (let at = 0; at < REPLY.length; at++) {
    const cut = REPLY.subarray(0, at);
    if (ends.has(at)) t.false(read([cut]).reply.ready, String(at));
    else t.throws(() => read([cut]), { instanceOf: IncompleteReadError }, String(at));
  }
});

test('a message over the limit is refused before it arrives', (t) => {
  t.throws(() => read([Buffer.concat([Buffer.from('D'), int32(100_001)])]), { instanceOf: LimitOverrunError });
});

// ------------------------------------------------------------------------------------------------ requests

test('requests have the bytes that the protocol prescribes', (t) => {
  const bytes = (buffer: Buffer): string => buffer.toString('latin1');
  t.is(bytes(requests.sslRequest()), '\0\0\0\x08\x04\xd2\x16\x2f');
  t.is(bytes(requests.cancelRequest(1, -2)), '\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\xff\xff\xff\xfe');
  t.is(bytes(requests.startup({ user: 'x', database: 'y' })), '\0\0\0\x1b\0\x03\0\0user\0x\0database\0y\0\0');
  t.is(bytes(requests.simpleQuery('SELECT 1')), 'Q\0\0\0\x0dSELECT 1\0');
  t.is(bytes(requests.message('X')), 'X\0\0\0\x04');
  t.is(
    bytes(requests.extendedQuery('S', ['€', 1, null, Buffer.of(255)])),
    'P\0\0\0\x09\0S\0\0\0' +
      'B\0\0\0\x29\0\0\0\x04\0\0\0\0\0\0\0\x01\0\x04' +
      '\0\0\0\x03\xe2\x82\xac\0\0\0\x011\xff\xff\xff\xff\0\0\0\x01\xff\0\0' +
      'D\0\0\0\x06P\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04',
  );
  const long = 'x'.repeat(1000);
  t.is(bytes(requests.execute('s1', [long])).length, 1 + 4 + 1 + 3 + 2 + 2 + 2 + 4 + 1000 + 2 + 10 + 5);
});

test('a parameter that has no text of its own is refused, instead of being stored as "undefined" or "[object Object]"', (t) => {
  for (const value of [undefined, {}, [1], () => 1] as unknown as requests.Parameter[]) {
    t.throws(() => requests.extendedQuery('SELECT $1', [value]), {
      instanceOf: TypeError,
      message: /converted to a string/,
    });
  }
});

test('a zero byte in a name or a statement and too many parameters are refused', (t) => {
  t.throws(() => requests.simpleQuery('SELECT 1\0'), { instanceOf: TypeError });
  t.throws(() => requests.startup({ user: 'a\0database\0b' }), { instanceOf: TypeError });
  t.throws(() => requests.execute('s', new Array<null>(65536).fill(null)), { instanceOf: RangeError });
});

// ------------------------------------------------------------------------------------------------ logins

function authentication(type: number, ...rest: (Uint8Array | string)[]): Body {
  const bytes = Buffer.concat([int32(type), ...rest.map((piece) => Buffer.from(piece as string))]);
  return new Body('Authentication', bytes, 0, bytes.length);
}

const SASL = 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0';

/** The example of RFC 7677. */
const NONCE = 'rOprNGfwEbeRWgbNEkqO';
const CHALLENGE = `r=${NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;

test('SCRAM-SHA-256 computes the example of RFC 7677', async (t) => {
  const scram = new Scram('pencil', 'user', NONCE);
  t.is(scram.first, `n,,n=user,r=${NONCE}`);
  const nonce = CHALLENGE.slice(2, CHALLENGE.indexOf(','));
  t.is(await scram.respond(CHALLENGE), `c=biws,r=${nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`);
  t.notThrows(() => scram.verify('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='));
  for (const wrong of ['', 'v=', 'v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=', 'v=6rriTRBi', 'x']) {
    t.throws(() => scram.verify(wrong), { message: /does not know the password/ }, wrong);
  }
  t.throws(() => scram.verify('e=other-error'), { message: /other-error/ });
  t.throws(() => new Scram('pencil').verify('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='));
});

test('a challenge that is malformed, not for our nonce or too expensive is refused', async (t) => {
  for (let at = 0; at < CHALLENGE.length; at++) {
    const scram = new Scram('pencil', 'user', NONCE);
    const cut = CHALLENGE.slice(0, at);
    if (/i=\d+$/.test(cut)) t.truthy(await scram.respond(cut));
    else await t.throwsAsync(scram.respond(cut), { instanceOf: ProtocolError }, cut);
  }
  const scram = new Scram('pencil', 'user', NONCE);
  for (const wrong of [
    CHALLENGE.replace('rOpr', 'xOpr'),
    CHALLENGE.replace('%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0', ''),
    CHALLENGE.replace('4096', '4294967296'),
    CHALLENGE.replace('4096', '1000001'),
    CHALLENGE.replace('4096', '0'),
    `m=x,${CHALLENGE}`,
  ]) {
    await t.throwsAsync(scram.respond(wrong), { instanceOf: ProtocolError }, wrong);
  }
});

test('an MD5 password is the hash of the hash and the salt', (t) => {
  // psql -c "SELECT 'md5' || md5(convert_to(md5('secret' || 'joe'), 'UTF8') || '\x01020304')"
  t.is(md5Password('joe', 'secret', Buffer.of(1, 2, 3, 4)), 'md5850be429f1fe77df3f603ac424abb440');
});

test('a login accepts the messages of the server only in their order', async (t) => {
  const login = (password: string | undefined = 'x', encrypted = false): Login =>
    new Login({ user: 'u', password }, encrypted);
  const trusted = login();
  t.is(await trusted.answer(authentication(0)), null);
  t.true(trusted.done);

  const scram = login();
  t.regex((await scram.answer(authentication(10, SASL)))!.toString('latin1'), /^p....SCRAM-SHA-256\0....n,,n=,r=/s);
  await t.throwsAsync(scram.answer(authentication(0)), { instanceOf: ProtocolError });
  await t.throwsAsync(scram.answer(authentication(5, '1234')), { instanceOf: ProtocolError });
  await t.throwsAsync(scram.answer(authentication(12, 'v=')), { instanceOf: ProtocolError });
  t.false(scram.done);
  for (const type of [11, 12]) {
    await t.throwsAsync(login().answer(authentication(type, 'x')), { instanceOf: ProtocolError }, String(type));
  }
  const md5 = login();
  t.is((await md5.answer(authentication(5, '1234')))!.length, 5 + 3 + 32 + 1);
  await t.throwsAsync(md5.answer(authentication(5, '1234')), { instanceOf: ProtocolError });
  await t.throwsAsync(login().answer(authentication(5, '123')), { instanceOf: ProtocolError });

  await t.throwsAsync(login().answer(authentication(3)), { message: /clear text/ });
  t.is((await login('x', true).answer(authentication(3)))!.toString('latin1'), 'p\0\0\0\x06x\0');
  await t.throwsAsync(new Login({ user: 'u' }, true).answer(authentication(3)), { message: /asks for a password/ });
  await t.throwsAsync(login().answer(authentication(7)), { message: /login method 7/ });
  await t.throwsAsync(login().answer(authentication(10, 'OTHER\0\0')), { message: /OTHER/ });
  await t.throwsAsync(login().answer(authentication(10, 'OTHER')), { instanceOf: ProtocolError });
});
