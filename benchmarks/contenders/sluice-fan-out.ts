/**
 * sluice: a server that sends the same messages of 64 bytes to 1 KiB to all clients, without awaiting any of them. Clients that do not
 * read are cut off by `maxWriteBuffer`.
 *
 *     node sluice-fan-out.js CONNECTIONS MAX REPEATS BLOCK
 *
 * Prints its port, waits for the connections, sends the content of the file BLOCK as often as REPEATS says, and prints one line of
 * JSON: how many clients were cut off, the most bytes that were buffered for all of them together, and how much the process grew.
 */
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';

import { type Stream, StreamServer } from 'sluice';

import { words } from './program.js';

const [connections, max, repeats] = words as [number, number, number];
const messages = cut(await readFile(process.argv.at(-1)!));

/** How many messages are sent before the event loop turns. */
const BATCH = 32;
/** The producer waits while more than one in a hundred clients have more than this in their buffer. */
const BEHIND_BYTES = 65536;
const TOLERATED = connections / 100;

const streams = new Set<Stream>();
let overflows = 0;
let ready!: () => void;
const allConnected = new Promise<void>((resolve) => (ready = resolve));

const server = new StreamServer(
  async (stream) => {
    streams.add(stream);
    if (streams.size === connections) ready();
    await stream.waitClosed().finally(() => streams.delete(stream));
  },
  '127.0.0.1',
  0,
  {
    backlog: connections,
    maxWriteBuffer: max,
    onError: (error) => {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_WRITE_OVERFLOW') throw error;
      overflows++;
    },
  },
);
await server.startServing();
console.log((server.sockets[0]?.address() as AddressInfo).port);
await allConnected;

const before = process.memoryUsage.rss();
let buffered = 0;
for (let i = 0; i < repeats; i++) {
  for (let from = 0; from < messages.length; from += BATCH) {
    for (const message of messages.slice(from, from + BATCH)) for (const stream of streams) void stream.write(message);
    await turn();
    while (behind() > TOLERATED) await turn();
  }
}
await server.close();
const grown = process.resourceUsage().maxRSS * 1024 - before;
console.log(JSON.stringify({ overflows, buffered, grown }));

/** How many clients are behind. Also notes how much is buffered. */
function behind(): number {
  let clients = 0;
  let bytes = 0;
  for (const { writeBufferSize } of streams) {
    bytes += writeBufferSize;
    if (writeBufferSize > BEHIND_BYTES) clients++;
  }
  buffered = Math.max(buffered, bytes);
  return clients;
}

/** Cuts the block into messages of 64 bytes to 1 KiB. */
function cut(block: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, i = 0; at < block.length; i++) {
    const length = 64 + ((i * 97) % 961);
    pieces.push(block.subarray(at, at + length));
    at += length;
  }
  return pieces;
}
