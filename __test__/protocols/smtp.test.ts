/** The SMTP example: the dialogue and the message at every split, and what it refuses. Its peers are in `smtp-peers.test.ts`. */
// Runs once: how a stream is divided into lines has tests of its own for each engine and each way of reading.
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { mock } from 'node:test';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { StreamReader, TimeoutError } from 'sluice';
import { MessageError } from '../../examples/protocols/smtp/incoming.js';
import { MessageReader } from '../../examples/protocols/smtp/message.js';
import { receiver, smtpServer, type SmtpOptions } from '../../examples/protocols/smtp/server.js';
import { MAX_COMMAND, SmtpSession, type Envelope, type SessionOptions } from '../../examples/protocols/smtp/smtp.js';
import { deferred, dial, gather, portOf, serving, turns, until } from '../loopback.js';
import { seed } from '../seed.js';

type Received = Envelope & { readonly text: string };

/** A receiver on a port of its own, and the messages that it has accepted. */
async function receiving(
  t: ExecutionContext,
  options: Partial<SmtpOptions> = {},
): Promise<{ port: number; messages: Received[]; errors: Error[]; reported: unknown[] }> {
  const messages: Received[] = [];
  const reported: unknown[] = [];
  const onError = (error: unknown): void => void reported.push(error);
  const onMessage: SmtpOptions['onMessage'] = async (envelope, message) => {
    let text = '';
    for await (const piece of message) text += piece.toString('latin1');
    t.is(text.length, message.size);
    messages.push({ ...envelope, text });
  };
  const { port, errors } = await serving(t, receiver({ hostname: 'mx.example', onMessage, onError, ...options }));
  return { port, messages, errors, reported };
}

/** Sends pieces, each in a segment of its own, and returns all that the server answers up to its end. */
async function transcript(t: ExecutionContext, port: number, pieces: Iterable<string | Buffer>): Promise<string> {
  const socket = await dial(t, port);
  socket.setNoDelay();
  const answers = gather(socket);
  for (const piece of pieces) {
    await write(socket, piece);
    await turns(1);
  }
  socket.end();
  return (await answers).toString();
}

async function write(socket: Socket, piece: string | Buffer): Promise<void> {
  if (!socket.write(piece)) await once(socket, 'drain');
}

const codes = (answers: string): string =>
  answers
    .replace(/^(\d{3}[- ]).*\r\n/gm, '$1')
    .replaceAll(/(\d{3})-/g, '')
    .trim();

const DIALOGUE =
  'EHLO client.example\r\nMAIL FROM:<a@example.com> SIZE=20\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n' +
  'Subject: dots\r\n\r\n..one\r\n...two\r\nthree.\r\n.\r\n' +
  'RSET\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n.\r\nQUIT\r\n';
const MESSAGES: readonly Received[] = [
  {
    from: 'a@example.com',
    recipients: ['b@example.com', 'c@example.com'],
    user: null,
    text: 'Subject: dots\r\n\r\n.one\r\n..two\r\nthree.\r\n',
  },
  { from: '', recipients: ['b@example.com'], user: null, text: '' },
];
const ANSWERS = '220 250 250 250 250 354 250 250 250 250 354 250 221';

test('a pipelined dialogue is answered in order, however it is split', async (t) => {
  const { port, messages, errors } = await receiving(t);
  const whole = await transcript(t, port, [DIALOGUE]);
  t.is(codes(whole), ANSWERS);
  t.deepEqual(messages.splice(0), MESSAGES);

  t.is(await transcript(t, port, DIALOGUE), whole, 'byte by byte');
  t.deepEqual(messages.splice(0), MESSAGES);

  const random = fc.sample(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 40, maxLength: 40 }), {
    numRuns: 10,
    seed: seed(t),
  });
  for (const sizes of random) {
    let from = 0;
    const pieces = sizes.map((size) => DIALOGUE.slice(from, (from += size)));
    t.is(await transcript(t, port, [...pieces, DIALOGUE.slice(from)]), whole);
    t.deepEqual(messages.splice(0), MESSAGES);
  }
  t.deepEqual(errors, []);
});

test('what follows QUIT is not answered', async (t) => {
  const { port } = await receiving(t);
  t.is(codes(await transcript(t, port, ['QUIT\r\nNOOP\r\n'])), '220 221');
});

test('a message is the same at every split, and the bytes after it stay unread', async (t) => {
  const wire = Buffer.from('.dot\r\n\r\n..\r\nlast.\r\n.\r\nQUIT\r\n');
  for (let cut = 0; cut <= wire.length; cut++) {
    const source = new StreamReader();
    const reader = new MessageReader(1000);
    let text = '';
    let done = false;
    for (const piece of [wire.subarray(0, cut), wire.subarray(cut)]) {
      source.feedData(piece);
      for (let frames; !done && (frames = source.tryReadframes('\n')) !== undefined;) {
        const pieces: Buffer[] = [];
        const count = reader.lines(frames.bytes, frames.ends, pieces);
        text += Buffer.concat(pieces).toString();
        done = count !== -1;
        if (done) frames.unread(count);
      }
    }
    source.feedEof();
    const rest = await source.read();
    t.is(text, 'dot\r\n\r\n.\r\nlast.\r\n', `cut at ${cut}`);
    t.is(reader.size, text.length);
    t.is(reader.problem, null);
    t.is(rest.toString(), 'QUIT\r\n', `cut at ${cut}`);
  }
});

test('a line feed alone, or a carriage return alone next to a dot, refuses the message and ends the session, so nothing can be smuggled', async (t) => {
  const { port, messages } = await receiving(t);
  const smuggled = 'MAIL FROM:<root@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nforged\r\n.\r\n';
  const start = 'EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\ntext';
  for (const end of [
    '\n.\n',
    '\n.\r\n',
    '\r\n.\n',
    '\r.\n',
    '\n\n.\r\n',
    '\r.\r\r\n',
    '\r.\r\n',
    '\r\n.\r\r\n',
    '\r\n\r.\r\n',
  ]) {
    const answers = codes(await transcript(t, port, [`${start}${end}${smuggled}.\r\n`]));
    t.is(answers, '220 250 250 250 354 521', JSON.stringify(end));
  }
  t.is(codes(await transcript(t, port, ['EHLO x\nNOOP\r\n'])), '220 521', 'a command');
  t.deepEqual(messages, []);
});

test('a carriage return alone within a line is a part of the message', async (t) => {
  const { port, messages } = await receiving(t);
  const dialogue = 'EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\na\rb.\rc\r\n.\r\nQUIT\r\n';
  t.is(codes(await transcript(t, port, [dialogue])), '220 250 250 250 354 250 221');
  t.is(messages[0]?.text, 'a\rb.\rc\r\n');
});

test('a message over the size is refused: by what MAIL announces, and by what arrives', async (t) => {
  const { port, messages } = await receiving(t, { maxSize: 1000 });
  const body = 'x'.repeat(98) + '\r\n';
  const answers = await transcript(t, port, [
    'EHLO x\r\nMAIL FROM:<a@example.com> SIZE=1001\r\n',
    `MAIL FROM:<a@example.com> SIZE=1000\r\nRCPT TO:<b@example.com>\r\nDATA\r\n${body.repeat(11)}.\r\n`,
    `MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n${body.repeat(10)}.\r\nQUIT\r\n`,
  ]);
  t.is(codes(answers), '220 250 552 250 250 354 552 250 250 354 250 221');
  t.deepEqual(
    messages.map(({ text }) => text.length),
    [1000],
  );
});

test('a message that the program cannot store is not accepted, and the session goes on', async (t) => {
  const onMessage = (): Promise<void> => Promise.reject(new Error('the disk is full'));
  const { port, errors, reported } = await receiving(t, { onMessage });
  const dialogue = 'EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n.\r\nQUIT\r\n';
  t.is(codes(await transcript(t, port, [dialogue])), '220 250 250 250 354 451 221');
  t.deepEqual(errors, []);
  t.like(reported, [{ message: 'the disk is full' }]);
});

const START = 'EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n';

test('the program receives a message while it arrives, and the client can send only as fast as the program reads', async (t) => {
  const arrived = deferred();
  const goOn = deferred();
  let size = 0;
  const onMessage: SmtpOptions['onMessage'] = async (_, message) => {
    for await (const piece of message) {
      size += piece.length;
      arrived.resolve();
      await goOn.promise;
    }
  };
  const { port } = await receiving(t, { onMessage });
  const socket = await dial(t, port);
  const answers = gather(socket);
  socket.write(`${START}first\r\n`);
  await arrived.promise;
  t.is(size, 'first\r\n'.length, 'the message is not complete');
  const line = Buffer.from(`${'x'.repeat(998)}\r\n`.repeat(1000));
  let written = 0;
  while (socket.write(line)) written += line.length;
  await turns(50);
  t.true(socket.writableLength > 0, 'the server reads no more than its limit');
  goOn.resolve();
  await write(socket, '.\r\nQUIT\r\n');
  t.is(codes((await answers).toString()), '220 250 250 250 354 250 221');
  t.is(size, 'first\r\n'.length + written + line.length);
});

test('what the program does not read of a message is dropped, and is checked all the same', async (t) => {
  const onMessage: SmtpOptions['onMessage'] = async (_, message) => {
    for await (const piece of message) if (piece.length > 0) break;
  };
  const { port, errors } = await receiving(t, { onMessage, maxSize: 100_000 });
  const body = `${'x'.repeat(98)}\r\n.${'y'.repeat(97)}\r\n`;
  const envelope = START.slice('EHLO x\r\n'.length);
  const answers = await transcript(t, port, [
    `${START}${body.repeat(400)}.\r\n`,
    `${envelope}${body.repeat(503)}.\r\n`,
    `${envelope}${body.repeat(400)}\nx\r\n.\r\nNOOP\r\n`,
  ]);
  t.is(codes(answers), '220 250 250 250 354 250 250 250 354 552 250 250 354 521');
  t.deepEqual(errors, []);
});

test('the program learns why a message is not complete, each time that it reads', async (t) => {
  const seen: string[] = [];
  const onMessage: SmtpOptions['onMessage'] = async (_, message) => {
    for (let i = 0; i < 2; i++) {
      try {
        for await (const piece of message) t.true(piece.length <= 1000);
        seen.push('complete');
      } catch (error) {
        seen.push(error instanceof MessageError ? error.problem : (error as Error).name);
      }
    }
  };
  const { port, errors } = await receiving(t, { onMessage, maxSize: 1000 });
  const answers = async (text: string): Promise<string> => codes(await transcript(t, port, [text]));
  t.is(await answers(`${START}${'x\r\n'.repeat(400)}.\r\nQUIT\r\n`), '220 250 250 250 354 552 221');
  t.is(await answers(`${START}x\ny\r\n.\r\n`), '220 250 250 250 354 521');
  t.is(await answers(`${START}half`), '220 250 250 250 354');
  t.is(await answers(START), '220 250 250 250 354');
  const impatient = await receiving(t, { onMessage, timeout: 1000 });
  const socket = await dial(t, impatient.port);
  socket.write(`${START}x\r\n`);
  t.is(codes((await gather(socket)).toString()), '220 250 250 250 354 421');
  const twice = (name: string): string[] => [name, name];
  t.deepEqual(seen, [
    ...twice('too large'),
    ...twice('bare line end'),
    ...twice('IncompleteReadError'),
    ...twice('IncompleteReadError'),
    ...twice('TimeoutError'),
  ]);
  await until(() => errors.length + impatient.errors.length === 3);
  const names = [...errors, ...impatient.errors].map(({ name }) => name);
  t.deepEqual(names, ['IncompleteReadError', 'IncompleteReadError', 'TimeoutError'], 'each once');
});

test('a line without end is answered once, and nothing more is buffered than the limit allows', async (t) => {
  const { port, errors } = await receiving(t);
  const socket = await dial(t, port);
  const answers = gather(socket);
  // The server closes while we write.
  socket.on('error', () => {});
  for (let i = 0; i < 64 && !socket.destroyed; i++) await write(socket, Buffer.alloc(65536, 'x')).catch(() => {});
  t.is(codes((await answers).toString()), '220 500');
  await until(() => errors.length > 0);
  t.like(errors, [{ name: 'LimitOverrunError' }]);
});

test('a message of which much more comes than is allowed is refused before its end, and the connection is closed', async (t) => {
  const { port, errors } = await receiving(t, { maxSize: 100_000 });
  const socket = await dial(t, port);
  const answers = gather(socket);
  // The server closes while we write.
  socket.on('error', () => {});
  await write(socket, START);
  for (let i = 0; i < 300 && !socket.destroyed; i++) await write(socket, `${'x'.repeat(998)}\r\n`).catch(() => {});
  t.is(codes((await answers).toString()), '220 250 250 250 354 552');
  t.deepEqual(errors, []);
});

test('a client that reads no answers is cut off', async (t) => {
  const reported: unknown[] = [];
  const onError = (error: unknown): void => void reported.push(error);
  const server = smtpServer({ onMessage() {}, onError, timeout: 500 }, '127.0.0.1', 0);
  await using started = server;
  await started.startServing();
  const socket = await dial(t, (started.address() as AddressInfo).port);
  socket.on('error', () => {}).pause();
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const commands = Buffer.from('NOOP\r\n'.repeat(100_000));
  // The buffers of the kernel hold a part of the answers.
  while (!socket.destroyed) await Promise.race([write(socket, commands).catch(() => {}), closed]);
  await started.close();
  t.like(reported, [{ name: 'TimeoutError' }]);
});

test('a check of a password that fails is a temporary error, whatever the error is', async (t) => {
  const failures = [new Error('no database'), new TimeoutError('the database', 'ERR_TIMEOUT')];
  let failure = failures[0]!;
  const { port, errors, reported } = await receiving(t, { authenticate: () => Promise.reject(failure) });
  const login = 'EHLO x\r\nAUTH PLAIN AGEAYg==\r\nQUIT\r\n';
  t.is(codes(await transcript(t, port, [login])), '220 250 454 221');
  failure = failures[1]!;
  t.is(codes(await transcript(t, port, [login])), '220 250 454 221');
  t.deepEqual(errors, []);
  t.deepEqual(reported, failures);
});

test('a client that says nothing is told so, and the connection is closed', async (t) => {
  const { port, errors } = await receiving(t, { timeout: 50 });
  const socket = await dial(t, port);
  t.is(codes((await gather(socket)).toString()), '220 421');
  await until(() => errors.length > 0);
  t.like(errors, [{ name: 'TimeoutError' }]);
});

test.serial(
  'onError receives what the program throws and what ends a session, each once, with the stream',
  async (t) => {
    const bug = new Error('a bug');
    const read: SmtpOptions['onMessage'] = async (_, message) => {
      for await (const piece of message) t.true(piece.length > 0);
    };
    const failing: SmtpOptions['onMessage'][] = [
      () => {
        throw bug;
      },
      () => Promise.reject(bug),
      () => ({ then: (_, reject) => void reject?.(bug) as never }),
    ];
    const reports = async (onMessage: SmtpOptions['onMessage'], text: string, expected: string): Promise<unknown[]> => {
      const reported: unknown[] = [];
      const onError: SmtpOptions['onError'] = (error, stream) => void reported.push(stream === null ? null : error);
      await using server = smtpServer({ onMessage, onError, maxSize: 1000 }, '127.0.0.1', 0);
      await server.startServing();
      t.is(codes(await transcript(t, portOf(server), [text])), expected);
      await server.close();
      return reported;
    };
    for (const each of failing) {
      t.deepEqual(await reports(each, `${START}x\r\n.\r\nQUIT\r\n`, '220 250 250 250 354 451 221'), [bug]);
      t.like(await reports(each, `${START}half`, '220 250 250 250 354'), [bug, { name: 'IncompleteReadError' }]);
    }
    t.like(await reports(read, `${START}half`, '220 250 250 250 354'), [{ name: 'IncompleteReadError' }]);
    t.deepEqual(await reports(read, `${START}${'x\r\n'.repeat(400)}.\r\nQUIT\r\n`, '220 250 250 250 354 552 221'), []);
  },
);

test.serial('an onError that fails, or is missing, changes nothing for the client', async (t) => {
  const bug = new Error('a bug');
  const failure = new Error('not written');
  const printing = mock.method(console, 'error', () => {});
  t.teardown(() => printing.mock.restore());
  const onMessage = (): Promise<void> => Promise.reject(bug);
  for (const onError of [(): Promise<void> => Promise.reject(failure), undefined]) {
    const { port, errors } = await serving(t, receiver({ onMessage, ...(onError && { onError }) }));
    t.is(codes(await transcript(t, port, [`${START}.\r\nQUIT\r\n`])), '220 250 250 250 354 451 221');
    t.deepEqual(errors, []);
  }
  t.deepEqual(
    printing.mock.calls.map((call): unknown[] => call.arguments),
    [[failure, bug], [bug]],
  );
});

test('a client that leaves at any byte of the dialogue ends the session, and each that is cut short is reported', async (t) => {
  const { port, errors, messages } = await receiving(t);
  for (let length = 0; length < DIALOGUE.length; length += 3) {
    const answers = codes(await transcript(t, port, [DIALOGUE.slice(0, length)]));
    t.true(ANSWERS.startsWith(answers.replace(/ 500$/, '')), `${length}: ${answers}`);
  }
  t.true(messages.length > 0);
  t.true(errors.length > 0 && errors.every(({ name }) => name === 'IncompleteReadError'));
});

// ---------------------------------------------------------------------------------------------- the session alone

const OPTIONS: SessionOptions = { hostname: 'mx.example', maxSize: 1000, tls: true, login: 'offered' };

function dialogue(session: SmtpSession, ...lines: readonly string[]): string {
  return lines.map((line) => codes(session.line(Buffer.from(line)).reply)).join(' ');
}

test('commands out of order are refused', (t) => {
  const commands: readonly [string[], string][] = [
    [['MAIL FROM:<a@b>'], '503'],
    [['EHLO x', 'RCPT TO:<a@b>'], '250 503'],
    [['EHLO x', 'DATA'], '250 503'],
    [['EHLO x', 'MAIL FROM:<a@b>', 'DATA'], '250 250 503'],
    [['EHLO x', 'MAIL FROM:<a@b>', 'MAIL FROM:<a@b>'], '250 250 503'],
    [['EHLO x', 'MAIL FROM:<a@b>', 'RCPT TO:<>'], '250 250 501'],
    [['EHLO x', 'MAIL FROM:<a@b>', 'RSET', 'RCPT TO:<a@b>'], '250 250 250 503'],
    [['HELO x', 'MAIL FROM:<a@b>', 'RCPT TO:<a@b>', 'DATA'], '250 250 250 354'],
    [['EHLO'], '501'],
    [['NOOP', 'VRFY a', 'SEND', '', ' NOOP'], '250 252 500 500 500'],
    [['NOOP   a b  ', 'RSET  '], '250 250'],
  ];
  for (const [lines, expected] of commands)
    t.is(dialogue(new SmtpSession(OPTIONS), ...lines), expected, lines.join('; '));
});

test('paths and parameters', (t) => {
  const paths: readonly [string, string, string?][] = [
    ['MAIL FROM:<a@example.com>', '250', 'a@example.com'],
    ['mail from:<a@example.com> body=8bitmime size=5', '250', 'a@example.com'],
    ['MAIL FROM: <a@example.com>', '250', 'a@example.com'],
    ['MAIL FROM:<@hop.example,@b.example:a@example.com>', '250', 'a@example.com'],
    ['MAIL FROM:<"a b"@example.com>', '250', '"a b"@example.com'],
    ['MAIL FROM:<jürgen@example.com> SMTPUTF8', '250', 'jürgen@example.com'],
    ['MAIL FROM:a@example.com', '501'],
    ['MAIL FROM:<a@example.com', '501'],
    ['MAIL FROM:<a b@example.com>', '501'],
    ['MAIL FROM:<a@example.com>SIZE=1', '501'],
    ['MAIL TO:<a@example.com>', '501'],
    ['MAIL FROM:<a@example.com> SIZE=-1', '555'],
    ['MAIL FROM:<a@example.com> SIZE=1e3', '555'],
    ['MAIL FROM:<a@example.com> SIZE=99999999999999999999', '552'],
    ['MAIL FROM:<a@example.com> FUTURE=1', '555'],
  ];
  for (const [line, code, from = ''] of paths) {
    const session = new SmtpSession(OPTIONS);
    t.is(dialogue(session, 'EHLO x', line), `250 ${code}`, line);
    t.is(session.envelope.from, from, line);
  }
});

test('AUTH is offered only over TLS if there is TLS, and a password is never read before', (t) => {
  const session = new SmtpSession(OPTIONS);
  t.notRegex(session.line(Buffer.from('EHLO x')).reply, /AUTH/);
  t.is(dialogue(session, 'AUTH PLAIN AGEAYg=='), '503');
  t.deepEqual(session.line(Buffer.from('STARTTLS')).next, { action: 'tls' });
  session.secured();
  t.is(dialogue(session, 'MAIL FROM:<a@b>'), '503', 'EHLO is forgotten');
  const { reply } = session.line(Buffer.from('EHLO x'));
  t.regex(reply, /^250 AUTH PLAIN LOGIN\r\n$/m);
  t.notRegex(reply, /STARTTLS/);
  t.is(dialogue(session, 'STARTTLS'), '503');
  const credentials = { action: 'authenticate', user: 'a', password: 'b' };
  t.deepEqual(session.line(Buffer.from('AUTH PLAIN AGEAYg==')).next, credentials);
  t.is(codes(session.authenticated(null).reply), '535');
  t.is(dialogue(session, 'AUTH LOGIN', 'YQ=='), '334 334');
  t.deepEqual(session.line(Buffer.from('Yg==')).next, credentials);
  t.is(codes(session.authenticated('a').reply), '235');
  t.is(dialogue(session, 'AUTH PLAIN AGEAYg=='), '503', 'logged in already');
});

test('answers to AUTH that are not valid', (t) => {
  const lines: readonly [string[], string][] = [
    [['AUTH'], '504'],
    [['AUTH CRAM-MD5'], '504'],
    [['AUTH PLAIN', '*'], '334 501'],
    [['AUTH PLAIN', 'not base64!'], '334 501'],
    [['AUTH PLAIN', ''], '334 501'],
    [['AUTH PLAIN AGE='], '501'],
    [['AUTH PLAIN AGEAYgBj'], '501'],
    [['AUTH LOGIN', '*', 'NOOP'], '334 501 250'],
  ];
  for (const [commands, expected] of lines) {
    const session = new SmtpSession({ ...OPTIONS, tls: false });
    t.is(dialogue(session, 'AUTH PLAIN AGEAYg=='), '503', 'before EHLO');
    t.is(dialogue(session, 'EHLO x', ...commands), `250 ${expected}`, commands.join('; '));
  }
});

test('limits: a long line, too many recipients, too many errors', (t) => {
  const session = new SmtpSession(OPTIONS);
  t.is(dialogue(session, `NOOP ${'x'.repeat(MAX_COMMAND - 5)}`, `NOOP ${'x'.repeat(MAX_COMMAND - 4)}`), '250 500');
  t.is(dialogue(session, 'NOOP \0'), '500');
  t.is(dialogue(session, 'EHLO x', 'MAIL FROM:<a@b>'), '250 250');
  for (let i = 0; i < 100; i++) t.is(dialogue(session, `RCPT TO:<a${i}@b>`), '250');
  t.is(dialogue(session, 'RCPT TO:<last@b>'), '452');
  for (let i = 3; i < 19; i++) t.is(dialogue(session, 'SEND'), '500');
  const last = session.line(Buffer.from('SEND'));
  t.is(codes(last.reply), '500 421');
  t.deepEqual(last.next, { action: 'close' });
});

test('control characters are refused, and so is what some programs take for a line end', (t) => {
  const session = new SmtpSession(OPTIONS);
  t.is(dialogue(session, 'EHLO x', 'MAIL FROM:<a@b>'), '250 250');
  for (const text of ['\0', '\r', '\t', '\x1b[2J', '\x7f', '\x85', '\u2028', '\u2029']) {
    t.is(dialogue(session, `RCPT TO:<"a${text}"@b>`), '500', JSON.stringify(text));
  }
  t.is(dialogue(session, 'RCPT TO:<"ä 日本"@b>'), '250');
});

test('a command is parsed in a time in proportion to its length', (t) => {
  // An expression that tries every split of the spaces takes minutes for one of these.
  const session = new SmtpSession(OPTIONS);
  const spaces = ' '.repeat(MAX_COMMAND - 30);
  t.is(dialogue(session, `NOOP x${spaces}c`, `a${spaces}x\u2028x`, `NOOP${spaces}`), '250 500 250');
  t.is(dialogue(session, 'EHLO x', `MAIL FROM:<a@b>${spaces}x`, `MAIL FROM:<a@b>${spaces}`), '250 555 250');
});

test('no bytes make the session throw', (t) => {
  const line = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc
      .tuple(
        fc.constantFrom('EHLO x', 'MAIL FROM:', 'RCPT TO:', 'AUTH PLAIN ', 'AUTH LOGIN', 'DATA', 'RSET'),
        fc.string(),
      )
      .map((words) => Buffer.from(words.join(''))),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
      const session = new SmtpSession({ ...OPTIONS, tls: false });
      for (const bytes of lines) {
        const { reply, next } = session.line(bytes);
        if (next.action === 'authenticate') session.authenticated(null);
        else if (!/^(\d{3}[- ][^\r\n]*\r\n)+$/.test(reply)) return false;
        if (next.action === 'data') session.received(null);
      }
      return true;
    }),
    { numRuns: 500, seed: seed(t) },
  );
  t.pass();
});
