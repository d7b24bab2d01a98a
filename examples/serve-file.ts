/**
 * The program that `npm start [-- FILE]` runs: a server sends a file over TCP, a client reads it in every way that a stream
 * can be read, and both ends compare the SHA-256 of the data.
 *
 *     node out/examples/serve-file.js [--limit=BYTES] [--help] [FILE]
 *
 * Without FILE it sends a few megabytes of real text, the declaration files of the TypeScript compiler one after another.
 * Both ends run in this one process and share its time, so the speeds that it prints are lower than a stream can reach.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { appendFile, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { connect, engine, IncompleteReadError, LimitOverrunError, StreamServer, type Stream } from 'sluice';

const usage = 'npm start -- [--limit=BYTES] [FILE]';

const help = `usage: ${usage}

Serves FILE over TCP on 127.0.0.1, reads it back in every way a stream can be read, and compares the SHA-256 of both ends.

  FILE           what is served; without it, some megabytes of text
  --limit=BYTES  how long a line may be (default: ${2 ** 20})
  -h, --help     prints this

The exit code is 0 when every way brought the whole file, 2 for a command line that cannot be followed, else 1.`;

const MB = 1e6;
const BLOCK = 65536;

/** The ways to read a stream to its end. Each one passes on everything that it reads, piece by piece. */
const ways: readonly Way[] = [
  {
    name: 'readline',
    unit: 'lines',
    async read(stream, take) {
      for (;;) {
        const line = await stream.readline();
        if (line.length === 0) return; // only at EOF: an empty line still has its line end
        take(line);
      }
    },
  },
  {
    name: 'for await',
    unit: 'lines',
    async read(stream, take) {
      for await (const line of stream) take(line);
    },
  },
  {
    name: 'readuntil',
    unit: 'lines',
    read: (stream, take) => untilIncomplete(() => stream.readuntil('\n'), take),
  },
  {
    name: 'lines',
    unit: 'lines',
    async read(stream, take) {
      // latin1 has one character per byte, so that any bytes come out as they went in.
      for await (const line of stream.lines({ encoding: 'latin1', keepEnds: true })) take(Buffer.from(line, 'latin1'));
    },
  },
  {
    name: 'batches',
    unit: 'batches',
    async read(stream, take) {
      for await (const batch of stream.lines({ encoding: 'latin1', keepEnds: true }).batches()) {
        take(Buffer.from(batch.join(''), 'latin1'));
      }
    },
  },
  {
    name: 'readframes',
    unit: 'batches',
    read: (stream, take) =>
      untilIncomplete(async () => {
        const frames = await stream.readframes();
        return frames.bytes;
      }, take),
  },
  {
    name: 'readexactly',
    unit: 'blocks',
    read: (stream, take) => untilIncomplete(() => stream.readexactly(BLOCK), take),
  },
  {
    name: 'read',
    unit: 'chunks',
    async read(stream, take) {
      for (;;) {
        const chunk = await stream.read(BLOCK);
        if (chunk.length === 0) return;
        take(chunk);
      }
    },
  },
];

interface Way {
  readonly name: string;
  readonly unit: string;
  read(stream: Stream, take: (piece: Buffer) => void): Promise<void>;
}

/** These calls return only complete frames. If the file ends with an incomplete one, their error holds it. */
async function untilIncomplete(next: () => Promise<Buffer>, take: (piece: Buffer) => void): Promise<void> {
  for (;;) {
    try {
      const frame = await next();
      if (frame.length === 0) return;
      take(frame);
    } catch (error) {
      if (!(error instanceof IncompleteReadError)) throw error;
      if (error.partial.length > 0) take(error.partial);
      return;
    }
  }
}

/** Counts and hashes pieces, many small ones at a time: calling the hash for each line would take most of the time. */
class Tally {
  pieces = 0;
  bytes = 0;
  readonly #hash = createHash('sha256');
  readonly #batch = Buffer.allocUnsafe(BLOCK);
  #batched = 0;

  constructor(private readonly onProgress: (tally: Tally) => void = () => {}) {}

  add(piece: Buffer): void {
    this.pieces++;
    this.bytes += piece.length;
    if (this.#batched + piece.length > BLOCK) this.#flush();
    if (piece.length > BLOCK) this.#hash.update(piece);
    else this.#batched += piece.copy(this.#batch, this.#batched);
  }

  digest(): string {
    this.#flush();
    return this.#hash.digest('hex');
  }

  #flush(): void {
    this.#hash.update(this.#batch.subarray(0, this.#batched));
    this.#batched = 0;
    this.onProgress(this);
  }
}

/** An error that the user can fix: only its message is shown. */
class UserError extends Error {}

/** An invalid command line: shown with the usage. */
class UsageError extends UserError {}

async function serveFile(file: string, limit: number, interrupt: AbortSignal): Promise<void> {
  const size = await checkFile(file);

  // What the server sent last, or why it failed.
  let sent = new Tally();
  let failure: unknown;

  const send = async (stream: Stream): Promise<void> => {
    sent = new Tally();
    // Each write waits until the client keeps up, so the whole file is never in memory.
    for await (const chunk of createReadStream(file, { highWaterMark: BLOCK }) as AsyncIterable<Buffer>) {
      sent.add(chunk);
      await stream.write(chunk);
    }
  };
  await using server = new StreamServer(send, '127.0.0.1', 0, { onError: (error) => void (failure = error) });
  await server.startServing();
  const { port } = server.address() as { port: number };
  console.log(`Serving ${file} (${inUnits(size, MB / 100, 2)}) on 127.0.0.1:${port}, ${engine} engine`);

  for (const way of ways) {
    const start = performance.now();
    const received = new Tally((tally) => showProgress(way, tally, size, start));
    await using stream = await connect('127.0.0.1', port, { limit });
    // Ctrl-C: the waiting read rejects, and leaving this function closes everything.
    const abort = (): void => void stream.abort();
    interrupt.addEventListener('abort', abort);
    try {
      await way.read(stream, (piece) => received.add(piece));
    } catch (error) {
      clearProgress();
      interrupt.throwIfAborted();
      if (failure !== undefined) throw failure as Error;
      if (!(error instanceof LimitOverrunError)) throw error;
      throw new UserError(
        `${file}: line ${received.pieces + 1} is longer than the limit of ${limit} bytes; --limit=BYTES raises it`,
      );
    } finally {
      interrupt.removeEventListener('abort', abort);
    }
    const seconds = (performance.now() - start) / 1000;
    clearProgress();
    interrupt.throwIfAborted();

    const [here, there] = [received.digest(), sent.digest()];
    const same = here === there && received.bytes === sent.bytes;
    console.log(summary(way, received, seconds, same ? 'sha256 ok' : 'sha256 DIFFERS'));
    if (!same) {
      throw new UserError(
        `${way.name}: sent ${sent.bytes} bytes with SHA-256 ${there}, received ${received.bytes} bytes with SHA-256 ${here}`,
      );
    }
  }
}

/** The size of the file. Throws if it cannot be served. */
async function checkFile(file: string): Promise<number> {
  try {
    await using handle = await open(file);
    const facts = await handle.stat();
    if (facts.isDirectory()) throw new UserError(`${file}: is a directory`);
    if (!facts.isFile()) throw new UserError(`${file}: is not a regular file`);
    return facts.size;
  } catch (error) {
    if (error instanceof UserError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UserError(`${file}: ${code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'not allowed' : message}`);
  }
}

/** In MB, or in bytes if that is close to 0 MB. */
function inUnits(bytes: number, mbFrom: number, digits: number): string {
  return bytes >= mbFrom ? `${(bytes / MB).toFixed(digits)} MB` : inBytes(Math.round(bytes));
}

function inBytes(bytes: number): string {
  return `${bytes} ${bytes === 1 ? 'byte' : 'bytes'}`;
}

function summary(way: Way, { pieces, bytes }: Tally, seconds: number, verdict: string): string {
  const count = `${pieces.toLocaleString('en')} ${way.unit}`;
  const speed = bytes === 0 ? '-' : `${inUnits(bytes / seconds, MB, 0)}/s`;
  return `${way.name.padEnd(11)} ${count.padStart(16)} ${inBytes(bytes).padStart(18)} ${speed.padStart(14)}   ${verdict}`;
}

let nextProgress = 0;

function showProgress(way: Way, { pieces, bytes }: Tally, size: number, start: number): void {
  const now = performance.now();
  if (!process.stdout.isTTY || now < nextProgress) return;
  nextProgress = now + 50;
  const width = 30;
  const part = size === 0 ? 1 : Math.min(bytes / size, 1);
  const bar = '#'.repeat(Math.round(part * width)).padEnd(width, '.');
  const speed = inUnits(bytes / ((now - start) / 1000), MB, 0);
  process.stdout.write(
    `\r${way.name.padEnd(11)} [${bar}] ${pieces.toLocaleString('en')} ${way.unit}, ${speed}/s\x1b[K`,
  );
}

function clearProgress(): void {
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[K');
}

/** Writes the file that is served by default. */
async function writeSample(file: string): Promise<void> {
  const folder = path.dirname(createRequire(import.meta.url).resolve('typescript'));
  const names = (await readdir(folder)).filter((name) => name.endsWith('.d.ts')).sort();
  for (let bytes = 0; bytes < 5 * MB;) {
    for (const name of names) {
      const text = await readFile(path.join(folder, name));
      await appendFile(file, text);
      bytes += text.length;
    }
  }
}

function commandLine(): { limit: number; showHelp: boolean; file: string | undefined } {
  try {
    const { values, positionals } = parseArgs({
      options: {
        limit: { type: 'string', default: String(2 ** 20) },
        help: { type: 'boolean', short: 'h', default: false },
      },
      allowPositionals: true,
    });
    if (positionals.length > 1) throw new UsageError('one FILE at a time');
    const limit = Number(values.limit);
    if (!Number.isSafeInteger(limit) || limit <= 0) {
      throw new UsageError(`--limit must be a positive integer, not ${values.limit === '' ? 'empty' : values.limit}`);
    }
    return { limit, showHelp: values.help, file: positionals[0] };
  } catch (error) {
    if (!(error instanceof Error && String((error as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS')))
      throw error;
    // After the first sentence there is only advice for other programs.
    throw new UsageError(error.message.split(/\. |\n/, 1)[0]);
  }
}

async function main(): Promise<number> {
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort());

  let temporary: string | null = null;
  try {
    const { limit, showHelp, file: given } = commandLine();
    if (showHelp) {
      console.log(help);
      return 0;
    }
    let file = given;
    if (file === undefined) {
      temporary = await mkdtemp(path.join(tmpdir(), 'sluice-'));
      file = path.join(temporary, 'sample.txt');
      await writeSample(file);
    }
    await serveFile(file, limit, interrupted.signal);
    return 0;
  } catch (error) {
    if (interrupted.signal.aborted) {
      console.error('Interrupted');
      return 130;
    }
    if (error instanceof UsageError) {
      console.error(`serve-file: ${error.message}; usage: ${usage}`);
      return 2;
    }
    console.error(error instanceof UserError ? `serve-file: ${error.message}` : error);
    return 1;
  } finally {
    if (temporary !== null) await rm(temporary, { recursive: true, force: true });
  }
}

process.exitCode = await main();
