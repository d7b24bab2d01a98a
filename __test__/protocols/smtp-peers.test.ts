/** The SMTP example receives mail from swaks, Postfix's smtp-source, and Python's smtplib. */
// Runs once: the peers send the same bytes to either engine.
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as consumers from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { smtpServer, type SmtpOptions } from '../../examples/protocols/smtp/server.js';
import type { Envelope } from '../../examples/protocols/smtp/smtp.js';
import { certificates } from '../certificates.js';
import { directory } from '../fifo.js';
import { portOf } from '../loopback.js';
import { Process, Program, example, installed, type Ended } from '../program.js';

type Message = Envelope & { readonly text: string };

async function receiving(
  t: ExecutionContext,
  options: Partial<SmtpOptions> = {},
): Promise<{ port: number; messages: Message[] }> {
  const messages: Message[] = [];
  const onMessage: SmtpOptions['onMessage'] = async (envelope, message) =>
    void messages.push({ ...envelope, text: await consumers.text(message) });
  const server = smtpServer({ onMessage, ...options }, '127.0.0.1', 0);
  t.teardown(() => server.abort());
  await server.startServing();
  return { port: portOf(server), messages };
}

const authenticate = (user: string, password: string): Promise<string | null> =>
  Promise.resolve(password === 'secret' ? user : null);

async function run(t: ExecutionContext, command: string, ...args: readonly string[]): Promise<Ended> {
  return new Process(t, command, args).ended;
}

const swaks = (t: ExecutionContext, port: number, ...args: readonly string[]): Promise<Ended> =>
  run(t, 'swaks', '--server', `127.0.0.1:${port}`, '--from', 'a@example.com', '--to', 'b@example.com', ...args);

test('swaks: a message with lines that begin with dots, pipelined and not', async (t) => {
  if (!installed(t, 'swaks')) return;
  const { port, messages } = await receiving(t);
  for (const pipeline of [[], ['--pipeline']]) {
    const { code, stdout, stderr } = await swaks(t, port, '--body', '.one\n..two\n.', ...pipeline);
    t.is(code, 0, stdout + stderr);
    const message = messages.pop()!;
    t.is(message.from, 'a@example.com');
    t.deepEqual(message.recipients, ['b@example.com']);
    t.regex(message.text, /\r\n\r\n\.one\r\n\.\.two\r\n\.\r\n/);
  }
});

test('swaks: a login by both methods; without one, or with a wrong password, nothing is accepted', async (t) => {
  if (!installed(t, 'swaks')) return;
  const { port, messages } = await receiving(t, { authenticate, loginRequired: true });
  for (const method of ['PLAIN', 'LOGIN']) {
    const login = ['--auth', method, '--auth-user', 'me', '--auth-password'];
    const { code, stdout, stderr } = await swaks(t, port, ...login, 'secret');
    t.is(code, 0, stdout + stderr);
    t.is(messages.pop()?.user, 'me');
    const refused = await swaks(t, port, ...login, 'guess');
    t.is(refused.code, 28, 'the code for a login that failed');
  }
  const without = await swaks(t, port);
  t.is(without.code, 23, 'the code for a MAIL that was refused');
  t.is(messages.length, 0);
});

test('smtp-source: many sessions at once, each with large messages', async (t) => {
  const source = '/usr/sbin/smtp-source';
  if (!installed(t, source)) return;
  const { port, messages } = await receiving(t);
  // 40 messages of 100,000 bytes over 8 sessions at a time, all of which are kept for several messages.
  const args = ['-s', '8', '-m', '40', '-l', '100000', '-d', '-f', 'a@example.com', '-t', 'b@example.com'];
  const { code, stdout, stderr } = await run(t, source, ...args, `127.0.0.1:${port}`);
  t.is(code, 0, stdout + stderr);
  t.is(messages.length, 40);
  t.true(messages.every(({ text }) => text.length >= 100_000 && text.endsWith('\r\n')));
});

const SMTPLIB = `
import smtplib, ssl, sys
port, ca = int(sys.argv[1]), sys.argv[2]
with smtplib.SMTP('127.0.0.1', port) as client:
    client.starttls(context=ssl.create_default_context(cafile=ca))
    client.login('me', 'secret')
    client.sendmail('a@example.com', ['b@example.com', 'c@example.com'], 'Subject: x\\n\\n.dot\\n' + ('y' * 76 + '\\n') * 900)
    try:
        client.sendmail('a@example.com', ['nobody@example.com'], 'no')
    except smtplib.SMTPRecipientsRefused as error:
        print(error.recipients['nobody@example.com'][0])
    try:
        client.sendmail('a@example.com', ['b@example.com'], ('z' * 76 + '\\n') * 2000)
    except smtplib.SMTPException as error:
        print(error.smtp_code)
    client.sendmail('a@example.com', ['b@example.com'], 'last')
`;

test('smtplib: TLS with a certificate that it checks, a login, refusals, and several messages on one connection', async (t) => {
  if (!installed(t, 'python3')) return;
  const { server, ca } = await certificates();
  const refuse = (address: string): string | null => (address.startsWith('nobody') ? 'No such mailbox' : null);
  const { port, messages } = await receiving(t, { ssl: server, authenticate, refuse, maxSize: 100_000 });
  const file = path.join(directory(t), 'ca.pem');
  await writeFile(file, ca);
  const { code, stdout, stderr } = await run(t, 'python3', '-c', SMTPLIB, String(port), file);
  t.is(code, 0, stderr);
  t.is(stdout, '550\n552\n');
  t.deepEqual(
    messages.map(({ text, recipients, user }) => [text.length, recipients.length, user]),
    [
      ['Subject: x\r\n\r\n.dot\r\n'.length + 900 * 78, 2, 'me'],
      ['last\r\n'.length, 1, 'me'],
    ],
  );
});

test('as a program: it prints each message, and SIGTERM ends it', async (t) => {
  if (!installed(t, 'swaks')) return;
  const program = new Program(t, example('protocols/smtp/server'), ['0']);
  const [, port] = await program.prints(/^Receiving on 127\.0\.0\.1:(\d+)$/m);
  t.is((await swaks(t, Number(port))).code, 0);
  await program.prints(/^\d+ bytes from <a@example\.com> to <b@example\.com>$/m);
  program.kill('SIGTERM');
  const { code, stderr } = await program.ended;
  t.is(code, 0);
  t.is(stderr, '');
});
