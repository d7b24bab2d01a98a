/** SMTP: the receiver of examples/protocols/smtp. */
import type { Case } from '../../case.js';
import { mail, Sender, type Mail } from '../../contenders/protocols/smtp-sender.js';
import { ProgramError } from '../../programs.js';
import { protocolCases, servers, type Load, type Service, type Start } from '../../protocols.js';
import { node, sluice } from '../../toolchain.js';
import { checkAnswer, WrongAnswerError } from '../../workload.js';

const LENGTH = 10_000_000;
const CONNECTIONS = 1;

const TEXT = 'Subject: dots\r\n\r\n.\r\n..\r\nnone\r\n.one\r\n'.repeat(5000);
const PLAIN = TEXT.replaceAll('.', ',');

/** Sends messages that a server must accept, and then one that it must refuse, because it is not what the address announces. */
async function check(port: number, accepted: readonly Mail[], refused: Mail): Promise<void> {
  const sender = await Sender.connect(port);
  for (const [message, code] of [...accepted.map((each) => [each, '2'] as const), [refused, '4'] as const]) {
    const reply = await sender.send(message);
    if (!reply.startsWith(code)) throw new WrongAnswerError(`the reply is ${reply}, expected ${code}xx`);
  }
  sender.close();
}

const loadGenerator = node('protocols/smtp-load');

async function send(start: Start, port: number, length: number, count: number): Promise<Load> {
  const program = await loadGenerator();
  if ('missing' in program) throw new ProgramError(program.missing);
  const output = await start(program, port, length, CONNECTIONS, count).output();
  const { bytes, seconds, p99 = NaN } = checkAnswer('smtp-load', output, { frames: count });
  return { requests: count, rate: bytes / seconds / 1e6, p99 };
}

export const smtp: readonly Case[] = protocolCases({
  name: 'smtp-receive',
  title: `messages of ${LENGTH / 1e6} MB`,
  unit: 'MB/s',
  plan({ engine, quick }) {
    const entry = (name: string, service: Service, checked: (port: number) => Promise<void>, messages: number) => {
      const [length, count] = quick ? [LENGTH / 10, 2] : [LENGTH, messages];
      return servers(
        checked,
        (start, port) => send(start, port, length, count),
        (start, port) => send(start, port, length, Math.ceil(count / 4)),
      )(name, service);
    };
    const whole = (port: number): Promise<void> =>
      check(port, [mail(TEXT, true), mail(PLAIN, true), mail(TEXT)], { ...mail(PLAIN), from: mail(TEXT, true).from });
    const counted = (port: number): Promise<void> =>
      check(port, [mail(PLAIN)], { ...mail(PLAIN), from: mail(`${PLAIN}\r\n`).from });
    return {
      ours: entry('sluice', { locate: sluice('protocols/smtp-server-sluice', engine) }, whole, 500),
      against: [
        {
          ...entry(
            'smtp-server',
            { locate: node('protocols/smtp-server-package', { needs: 'smtp-server' }) },
            whole,
            50,
          ),
          atLeast: 3,
        },
        {
          ...entry('net, which only counts bytes', { locate: node('protocols/smtp-server-net') }, counted, 500),
          atLeast: 0.8,
        },
      ],
      also: [],
    };
  },
});
