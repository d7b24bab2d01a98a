/** A user's program, in strict TypeScript, that uses every kind of export of the package. */
import {
  IncompleteReadError,
  StreamMode,
  StreamReader,
  StreamServer,
  connect,
  engine,
  type ClientHandler,
  type ConnectOptions,
  type Frames,
  type Stream,
} from 'sluice';
import { splits, type SplitsOptions } from 'sluice/testing';

const handler: ClientHandler = async (stream, { signal }) => {
  for (;;) {
    const frames: Frames = await stream.readframes('\n', { signal });
    if (frames.length === 0) return;
    // @ts-expect-error: internal members are not in the types
    if (frames.expire === undefined) throw new Error('no such method');
    for (const frame of frames) await stream.write(frame);
  }
};

const options: ConnectOptions = { limit: 1024, noDelay: true };

async function exchange(): Promise<string[]> {
  await using server = new StreamServer(handler, '127.0.0.1', 0);
  await server.startServing();
  const address = server.sockets[0]?.address() as { port: number };
  await using stream: Stream = await connect('127.0.0.1', address.port, options);
  const writable: boolean = (stream.mode & StreamMode.WRITE) !== 0;
  if (!writable) throw new Error('not writable');
  await stream.write('one\ntwo\nthree\n');
  await stream.writeEof();
  const lines: string[] = [];
  for await (const line of stream.lines({ encoding: 'utf8' })) lines.push(line);
  return lines;
}

const reader = new StreamReader({ limit: 64 });
reader.feedData(new Uint8Array([1, 2]));
reader.feedEof();
const partial: Buffer = await reader.readexactly(3).catch((error: unknown) => {
  if (error instanceof IncompleteReadError) return error.partial;
  throw error;
});

const trailing: SplitsOptions = { trailing: 'more' };
for (const { reader, title } of splits('line\n', trailing)) {
  if ((await reader.readline()).length !== 5) throw new Error(title);
}

const which: 'native' | 'typescript' = engine;
console.log(which, JSON.stringify(await exchange()), partial.length);
