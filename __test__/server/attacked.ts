/**
 * A server to be attacked, in a process of its own, so that its memory and its descriptors can be measured. `attack.ts` starts it with
 * `--expose-gc`, and talks to it over the channel of `fork`.
 */
import { readdirSync } from 'node:fs';
import { BlockList, type AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  LimitOverrunError,
  StreamServer,
  type ClientHandler,
  type LengthFraming,
  type Stream,
  type StreamServerOptions,
} from 'sluice';

/** What the server does with its connections. */
export type HandlerName = keyof typeof handlers;

export interface Spec {
  readonly handler: HandlerName;
  readonly options: Omit<StreamServerOptions, 'onError'>;
  /** If given, the server reads PROXY headers from loopback addresses, within this time. */
  readonly proxyTimeout?: number;
}

/** What the server counts, without collecting garbage. */
export interface Counted {
  /** How many descriptors are open; null if the system does not say. */
  readonly descriptors: number | null;
  /** How many connections have been accepted. */
  readonly accepted: number;
  /** How many handlers are running. */
  readonly handlers: number;
  /** How many handlers have been called. */
  readonly served: number;
}

export interface Measured extends Counted {
  /** Resident bytes, after garbage collection. */
  readonly resident: number;
  /** Bytes in use, after garbage collection: by objects, and by buffers. */
  readonly heap: number;
  /** The most resident bytes that the process has ever had. */
  readonly peak: number;
  /** What `onError` has received: how many errors of each code. */
  readonly reports: Readonly<Record<string, number>>;
}

export const FRAMING = { length: 'uint32be', skip: 'header', limit: 1024 * 1024 } as const satisfies LengthFraming;

const subscribers = new Set<Stream>();

const handlers = {
  /** Sends each line back. */
  async lines(stream) {
    for await (const line of stream) await stream.write(line);
  },
  /** The same, but answers an overlong line, and goes on. */
  async forgiving(stream) {
    for (;;) {
      try {
        const line = await stream.readline();
        if (line.length === 0) return;
        await stream.write(line);
      } catch (error) {
        if (!(error instanceof LimitOverrunError)) throw error;
        await stream.write('too long\n');
      }
    }
  },
  /** Sends each frame back. */
  async frames(stream) {
    for await (const frame of stream.frames(FRAMING)) await stream.writeframe(frame, FRAMING);
  },
  /** Answers each line with that many bytes, and waits while the peer does not read. */
  async blocks(stream) {
    const block = Buffer.alloc(65536, 'x');
    for await (const line of stream.lines()) {
      for (let left = Number(line); left > 0; left -= block.length) {
        await stream.write(left < block.length ? block.subarray(0, left) : block);
      }
    }
  },
  /** Sends each line to every client, and waits for none of them. */
  async publish(stream) {
    subscribers.add(stream);
    try {
      for await (const line of stream) for (const one of subscribers) void one.write(line);
    } finally {
      subscribers.delete(stream);
    }
  },
} satisfies Record<string, ClientHandler>;

function descriptors(): number | null {
  if (process.platform !== 'linux') return null;
  // Without the one that reads the folder.
  return readdirSync('/proc/self/fd').length - 1;
}

async function main(spec: Spec): Promise<void> {
  let running = 0;
  let served = 0;
  const reports: Record<string, number> = {};
  const handler: ClientHandler = async (stream, context) => {
    running++;
    served++;
    try {
      await (handlers[spec.handler] as ClientHandler)(stream, context);
    } finally {
      running--;
    }
  };
  const onError = (error: unknown): void => {
    const { code = String(error) } = error as { code?: string };
    reports[code] = (reports[code] ?? 0) + 1;
  };
  const trusted = new BlockList();
  trusted.addSubnet('127.0.0.0', 8);
  const proxyProtocol = spec.proxyTimeout === undefined ? undefined : { trusted, timeout: spec.proxyTimeout };
  const server = new StreamServer(handler, '127.0.0.1', 0, {
    backlog: 511,
    shutdownTimeout: 1000,
    ...spec.options,
    proxyProtocol,
    onError,
  });
  await server.startServing();
  let accepted = 0;
  server.sockets[0]!.on('connection', () => accepted++);

  const count = (): Counted => ({ descriptors: descriptors(), accepted, handlers: running, served });
  const measure = async (): Promise<Measured> => {
    for (let i = 0; i < 3; i++) {
      await turn();
      gc!();
    }
    const { rss, heapUsed, external } = process.memoryUsage();
    return {
      resident: rss,
      heap: heapUsed + external,
      peak: process.resourceUsage().maxRSS * 1024,
      ...count(),
      reports,
    };
  };
  process.on('message', (message) => {
    if (message === 'measure') void measure().then((measured) => process.send!(measured));
    else if (message === 'count') process.send!(count());
    else void server.close().then(() => process.disconnect());
  });
  process.send!((server.sockets[0]!.address() as AddressInfo).port);
}

declare const gc: (() => void) | undefined;

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(JSON.parse(process.argv[2]!) as Spec);
