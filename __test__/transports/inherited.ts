/**
 * A process that was given sockets as fds: `node inherited.js SCENARIO FDS`, where FDS is a JSON object from names to
 * fds. Prints the result as JSON. Run by `inherited.test.ts`.
 */
import { connect as netConnect, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import {
  StreamServer,
  UnixStreamServer,
  connect,
  connectUnix,
  type ClientHandler,
  type Stream,
  type StreamServerOptions,
} from 'sluice';

const [scenario = '', given = '{}'] = process.argv.slice(2);
const fds = JSON.parse(given) as Record<string, number>;

const echo: ClientHandler = async (stream) => {
  await stream.write(`heard ${String(await stream.readline())}`);
};

/** The fd with this name. */
function fd(name: string): number {
  const found = fds[name];
  if (found === undefined) throw new Error(`no fd ${name}`);
  return found;
}

/** Whether the port accepts connections. */
async function listens(port: number): Promise<boolean> {
  const socket = netConnect(port, '127.0.0.1');
  const connected = await once(socket, 'connect').then(
    () => true,
    () => false,
  );
  socket.destroy();
  return connected;
}

async function ask(stream: Stream, word: string): Promise<string> {
  await stream.write(`${word}\n`);
  const answer = String(await stream.read());
  await stream.close();
  return answer;
}

/** A server over a TCP socket that listened, and had connections, before this process started. */
async function serveTcp(): Promise<object> {
  const server = new StreamServer(echo, null, 0, { sock: fd('listener') });
  await server.bind();
  const { address, port } = server.sockets[0]?.address() as AddressInfo;
  const { length } = server.sockets;
  await server.startServing();
  // This client sent its line before the server was made.
  await using early = await connect({ sock: fd('early') });
  const answers = [String(await early.read()), await ask(await connect(address, port), 'late')];
  await server.close();
  return { address, port, length, answers, bound: server.isBound(), listens: await listens(port) };
}

async function serveUnix(): Promise<object> {
  const server = new UnixStreamServer(echo, null, { sock: fd('unixListener') });
  await server.startServing();
  await using early = await connectUnix({ sock: fd('unixEarly') });
  const answers = [String(await early.read())];
  await server.close();
  return { answers, bound: server.isBound() };
}

/** Both ends of a connection, each as an fd. */
async function talk(): Promise<object> {
  const said: unknown[] = [];
  for (const [one, other, open] of [
    ['one', 'two', connect],
    ['left', 'right', connectUnix],
  ] as const) {
    await using near = await open({ sock: fd(one), limit: 50 });
    await using far = await open({ sock: fd(other) });
    const block = Buffer.alloc(3_000_000, `${one} `);
    void near.write(block);
    void near.writeEof();
    const whole = (await far.read()).equals(block);
    await far.write('and back\n');
    const back = String(await near.readline());
    said.push({ limit: near.limit, whole, back, peername: near.getExtraInfo('peername') });
  }
  return said;
}

interface Failure {
  readonly name: string;
  readonly code: string;
  readonly message: string;
}

/** Calls that must fail, by the name of the call and of the fd. */
async function refused(): Promise<Record<string, Failure | null>> {
  const failures: Record<string, Failure | null> = {};
  const attempt = async (what: string, call: () => Promise<unknown>): Promise<void> => {
    try {
      await call();
      failures[what] = null;
    } catch (error) {
      const { name, code, message } = error as Failure;
      failures[what] = { name, code, message };
    }
  };
  const serving = (Kind: typeof StreamServer | typeof UnixStreamServer, options: StreamServerOptions) => async () => {
    const server =
      Kind === StreamServer
        ? new StreamServer(echo, null, 0, options)
        : new UnixStreamServer(echo, null, { sock: options.sock });
    try {
      await server.startServing();
    } finally {
      await server.close();
    }
  };
  await attempt('StreamServer unixListener', serving(StreamServer, { sock: fd('unixListener') }));
  await attempt('UnixStreamServer listener', serving(UnixStreamServer, { sock: fd('listener') }));
  await attempt('StreamServer one', serving(StreamServer, { sock: fd('one') }));
  await attempt('StreamServer datagram', serving(StreamServer, { sock: fd('datagram') }));
  await attempt('StreamServer closed', serving(StreamServer, { sock: 999 }));
  await attempt('connect fresh', () => connect({ sock: fd('fresh') }));
  await attempt('connect bound', () => connect({ sock: fd('bound') }));
  await attempt('connect other', () => connect({ sock: fd('other') }));
  await attempt('connect datagram', () => connect({ sock: fd('datagram') }));
  await attempt('connect closed', () => connect({ sock: 999 }));
  await attempt('connectUnix two', () => connectUnix({ sock: fd('two') }));
  // An unconnected Unix socket shows when it is used: Node cannot ask for its peer.
  await attempt('connectUnix unixFresh', async () => {
    const stream = await connectUnix({ sock: fd('unixFresh') });
    void stream.write('anyone?\n');
    await stream.flush();
  });
  return failures;
}

const scenarios: Record<string, () => Promise<object>> = { serveTcp, serveUnix, talk, refused };
process.stdout.write(JSON.stringify(await scenarios[scenario]?.()));
