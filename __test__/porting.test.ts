/**
 * The programs of the porting guide do what their asyncio counterparts do.
 */
// Runs once: they are programs over the public API, which has tests of its own for each engine and each way of reading.
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { certificates } from './certificates.js';
import { blocks, folder, snippets, transpile } from './documents.js';
import { Process, installed, type Ended } from './program.js';

const GUIDE = 'docs/porting-from-asyncio.md';

/** How a program is run, for each language of the guide. */
type Side = 'ts' | 'py';
const SIDES: readonly Side[] = ['ts', 'py'];

async function guide(): Promise<Map<string, string>> {
  return new Map((await snippets(GUIDE)).map(({ name, code }) => [name, code]));
}

/** A folder in which programs of the guide run, with the files that they expect. */
class Workplace {
  readonly #t: ExecutionContext;
  readonly folder: string;
  readonly #guide: Map<string, string>;

  constructor(t: ExecutionContext, where: string, found: Map<string, string>) {
    this.#t = t;
    this.folder = where;
    this.#guide = found;
  }

  /** Starts a program, with its fixed port replaced by the given one. */
  start(name: string, side: Side, port: number | null = null, input = false): Promise<Process> {
    started.add(`${name}.${side}`);
    return side === 'ts' ? this.#node(name, port, input) : this.#python(name, port, input);
  }

  /** Runs a program to its end, which must be successful; returns what it printed. */
  async run(name: string, side: Side, port: number | null = null): Promise<string> {
    return this.good(await (await this.start(name, side, port)).ended);
  }

  good({ code, stdout, stderr }: Ended): string {
    this.#t.is(code, 0, stderr);
    return stdout;
  }

  async #node(name: string, port: number | null, input: boolean): Promise<Process> {
    const file = path.join(this.folder, `${name}.mjs`);
    await writeFile(file, transpile(this.#code(`${name}.ts`, port)));
    return new Process(this.#t, process.execPath, [file], { cwd: this.folder, input });
  }

  async #python(name: string, port: number | null, input: boolean): Promise<Process> {
    const file = path.join(this.folder, `${name}.py`);
    await writeFile(file, this.#code(`${name}.py`, port));
    return new Process(this.#t, 'python3', [file], { cwd: this.folder, input });
  }

  #code(name: string, port: number | null): string {
    const code = this.#guide.get(name);
    if (code === undefined) throw new Error(`the guide has no ${name}`);
    return port === null ? code : code.replaceAll('8888', String(port));
  }
}

/** The programs that were started, how many tests there are, and how many ran. */
const started = new Set<string>();
let tests = 0;
let ran = 0;

let workplaces = 0;

async function workplace(t: ExecutionContext): Promise<Workplace> {
  return new Workplace(t, await folder(t, `porting-${workplaces++}`), await guide());
}

/** Runs the body with the program in each language; the asyncio one requires Python. */
function onBothSides(title: string, body: (t: ExecutionContext, work: Workplace, side: Side) => Promise<void>): void {
  for (const side of SIDES) {
    tests++;
    test.serial(`${title}: ${side === 'ts' ? 'sluice' : 'asyncio'}`, async (t) => {
      ran++;
      if (side === 'py' && !installed(t, 'python3')) return;
      await body(t, await workplace(t), side);
    });
  }
}

/** Runs the body for each pair of languages of a client and a server. */
function crosswise(
  title: string,
  body: (t: ExecutionContext, work: Workplace, client: Side, server: Side) => Promise<void>,
): void {
  for (const client of SIDES) {
    onBothSides(`${title}, client of ${client === 'ts' ? 'sluice' : 'asyncio'}, server of`, async (t, work, server) => {
      if (client === 'py' && !installed(t, 'python3')) return;
      await body(t, work, client, server);
    });
  }
}

/** A plain peer made with Node. */
async function peer(t: ExecutionContext, onConnection: (socket: Socket) => void): Promise<number> {
  return listening(
    t,
    createServer((socket) => onConnection(socket.on('error', () => {}))),
  );
}

async function listening(t: ExecutionContext, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function startServer(work: Workplace, name: string, side: Side): Promise<number> {
  const server = await work.start(name, side, 0);
  const [, port] = await server.prints(/^Serving on port (\d+)$/m);
  return Number(port);
}

/** A certificate for localhost, its key and its authority, under the file names that the programs use. */
async function certify({ folder: where }: Workplace): Promise<void> {
  const { ca, server } = await certificates();
  await writeFile(path.join(where, 'ca.pem'), ca);
  await writeFile(path.join(where, 'cert.pem'), server.cert);
  await writeFile(path.join(where, 'key.pem'), server.key);
}

test('every program has an asyncio counterpart', async (t) => {
  const found = await snippets(GUIDE);
  const names = (side: Side): string[] =>
    found.filter(({ name }) => name.endsWith(`.${side}`)).map(({ name }) => path.parse(name).name);
  t.true(names('ts').length >= 17);
  t.deepEqual(names('ts'), names('py'));
  t.is(new Set(found.map(({ name }) => name)).size, found.length);
});

test.after('every program is run', async (t) => {
  // Not if only some of the tests were selected.
  if (ran < tests) return;
  const names = [...(await guide()).keys()];
  t.deepEqual(
    names.filter((name) => !started.has(name) && (name.endsWith('.ts') || installed(t, 'python3'))),
    [],
  );
  const nameless = (await blocks(GUIDE)).filter(({ name }) => name === '');
  t.deepEqual(nameless, []);
});

crosswise('the echo client receives its message from the echo server', async (t, work, client, server) => {
  const port = await startServer(work, 'echo-server', server);
  t.is(await work.run('echo-client', client, port), 'Received: Hello World!\n');
});

onBothSides('the program prints the HTTP headers of a server', async (t, work, side) => {
  const server = createHttpServer((request, response) => {
    response.writeHead(200, { 'X-Request': `${request.method} ${request.url} of ${request.headers.host}` });
    response.end();
  });
  const lines = (await work.run('http-headers', side, await listening(t, server))).split('\n');
  t.is(lines[0], 'HTTP header> HTTP/1.1 200 OK');
  t.true(lines.includes('HTTP header> X-Request: HEAD / of 127.0.0.1'));
});

onBothSides('the program waits for data on a socket', async (t, work, side) => {
  t.is(await work.run('socketpair', side), 'Received: abc\n');
});

crosswise('the TLS client receives its message from the server', async (t, work, client, server) => {
  await certify(work);
  const port = await startServer(work, 'tls-server', server);
  t.is(await work.run('tls-client', client, port), 'TLSv1.3\nReceived: Hello World!\n');
});

crosswise('the STARTTLS client and server continue encrypted', async (t, work, client, server) => {
  await certify(work);
  const port = await startServer(work, 'starttls-server', server);
  t.is(await work.run('starttls-client', client, port), 'ready\nencrypted: secret\n');
});

crosswise('the Unix client receives its message from the server', async (t, work, client, server) => {
  await (await work.start('unix-server', server)).prints(/^Serving$/m);
  t.is(await work.run('unix-client', client), 'Received: Hello World!\n');
});

onBothSides('the program writes to a child process and reads its output', async (t, work, side) => {
  t.is(await work.run('child', side), 'sorted: apple\nsorted: pear\n');
});

onBothSides('the program reads standard input line by line', async (t, work, side) => {
  const program = await work.start('stdin', side, null, true);
  program.type('one\ntwo\nthr');
  await program.prints(/^line: two$/m);
  program.type('ee');
  program.hangUp();
  t.is(work.good(await program.ended), 'line: one\nline: two\nline: three\n');
});

onBothSides('the server answers a pair of reader and writer', async (t, work, side) => {
  t.is(await work.run('pairs', side), 'HELLO\n');
});

onBothSides('the program sends a part of a file', async (t, work, side) => {
  await writeFile(path.join(work.folder, 'data.txt'), 'one two three four');
  let received = '';
  let ended!: () => void;
  const whole = new Promise<void>((resolve) => (ended = resolve));
  const port = await peer(t, (socket) => {
    socket.on('data', (piece: Buffer) => (received += piece.toString())).on('end', ended);
  });
  t.is(await work.run('sendfile', side, port), 'Sent 9 bytes\n');
  await whole;
  t.is(received, 'two three');
});

onBothSides('a stream stays usable after a timeout', async (t, work, side) => {
  const port = await peer(t, (socket) => socket.pipe(socket));
  t.is(await work.run('timeout', side, port), 'Nothing within 50 ms\nstill usable\n');
});

onBothSides('a cancelled read loses no data', async (t, work, side) => {
  const port = await peer(t, (socket) => socket.pipe(socket));
  const cancelled = side === 'ts' ? 'AbortError' : 'Cancelled';
  t.is(await work.run('cancel', side, port), `${cancelled}\nabcdef\n`);
});

onBothSides('the parser runs without a socket', async (t, work, side) => {
  t.is((await work.run('parser', side)).toLowerCase(), 'hello\ntrue\n');
});
