/** Shared parts of the tests with socat and nc. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext, TestFn } from 'ava';
import { connectUnix, type ClientHandler, type Stream } from 'sluice';
import { bytes } from './http.js';
import { echo } from './loopback.js';
import { Process, installed } from './program.js';

/** A handler that, once the peer has ended its side, answers with the number of bytes received and their hash. */
export async function sum(stream: Stream): Promise<void> {
  const hash = createHash('sha256');
  for (;;) {
    const chunk = await stream.read(65536);
    if (chunk.length === 0) break;
    hash.update(chunk);
  }
  await stream.write(`${stream.bytesRead} ${hash.digest('hex')}\n`);
}

/** The answer of {@link sum}. */
export function summed(data: Uint8Array): string {
  return `${data.length} ${createHash('sha256').update(data).digest('hex')}\n`;
}

/**
 * Connects to the Unix socket of a program that does not report when it listens: there is a moment between bind and
 * listen.
 */
export async function reach(file: string): Promise<Stream> {
  for (;;) {
    try {
      return await connectUnix(file);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ECONNREFUSED') throw error;
    }
    await sleep(10);
  }
}

/** A command-line client. */
export interface Client {
  readonly name: string;
  /** Its arguments: it must end its side when its input ends, and then wait for the answer. */
  arguments(address: string): string[];
}

/**
 * Runs each client against servers with several handlers.
 *
 * @param serve - starts a server; resolves with the address for the client
 */
export function clientContract(
  test: TestFn,
  clients: readonly Client[],
  serve: (t: ExecutionContext, handler: ClientHandler) => Promise<string>,
): void {
  for (const client of clients) {
    const start = async (t: ExecutionContext, handler: ClientHandler): Promise<Process> => {
      const address = await serve(t, handler);
      return new Process(t, client.name, client.arguments(address), { input: true });
    };

    test(`${client.name} to a server: a conversation line by line, ended by the client`, async (t) => {
      if (!installed(t, client.name)) return;
      const running = await start(t, echo);
      running.type('one\n');
      await running.prints(/^one\n$/);
      running.type('two\nthree');
      await running.prints(/^two$/m);
      running.hangUp();
      const { code, stdout, stderr } = await running.ended;
      t.is(code, 0, stderr);
      t.is(stdout, 'one\ntwo\nthree');
    });

    test(`${client.name} to a server: megabytes, then the answer to the half-close`, async (t) => {
      if (!installed(t, client.name)) return;
      const running = await start(t, sum);
      const data = bytes(8_000_003);
      running.type(data);
      running.hangUp();
      const { code, stdout, stderr } = await running.ended;
      t.is(code, 0, stderr);
      t.is(stdout, summed(data));
    });

    test(`${client.name} to a server: if it is killed, its connection ends and the server continues`, async (t) => {
      if (!installed(t, client.name)) return;
      let taken!: (what: string) => void;
      const line = new Promise<string>((resolve) => (taken = resolve));
      let end!: (what: string) => void;
      const rest = new Promise<string>((resolve) => (end = resolve));
      const address = await serve(t, async (stream) => {
        taken((await stream.readline()).toString());
        end((await stream.read()).toString());
        await stream.write('read to the end\n');
      });
      const killed = new Process(t, client.name, client.arguments(address), { input: true });
      killed.type('line\n');
      t.is(await line, 'line\n');
      killed.kill('SIGKILL');
      t.is((await killed.ended).signal, 'SIGKILL');
      t.is(await rest, '');

      const next = new Process(t, client.name, client.arguments(address));
      t.is((await next.ended).stdout, 'read to the end\n');
    });
  }
}
