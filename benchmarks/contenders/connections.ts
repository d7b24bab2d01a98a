/**
 * The common part of the Node contenders with many connections: how they receive their arguments and report their results.
 *
 *     node contender.js PORT CONNECTIONS [verify]
 *
 * The clock starts when all connections are established, and stops when the last one has been read to its end.
 */
import { Digest } from './digest.js';
import { now, verify, words } from './program.js';

const [port, count] = words as [number, number];

/** What was received over one connection. */
export class Tally {
  readonly digest = verify ? new Digest() : null;
  frames = 0;
  bytes = 0;
}

/** Opens the connections, reads all of them concurrently, and prints the answer. */
export async function receive<Connection>(
  open: (port: number) => Promise<Connection>,
  read: (connection: Connection, tally: Tally) => Promise<void>,
  close: (connection: Connection) => unknown,
): Promise<void> {
  const connections: Connection[] = [];
  for (let i = 0; i < count; i++) connections.push(await open(port));
  const start = now();
  const tallies = await Promise.all(
    connections.map(async (connection) => {
      const tally = new Tally();
      await read(connection, tally);
      return tally;
    }),
  );
  const seconds = now() - start;
  const sum = (of: (tally: Tally) => number): number => tallies.reduce((total, tally) => total + of(tally), 0);
  const answer = { frames: sum(({ frames }) => frames), bytes: sum(({ bytes }) => bytes), seconds };
  // All connections carry the same bytes, so all digests are equal unless a connection received something else.
  const digests = new Set(tallies.map(({ digest }) => String(digest)));
  console.log(JSON.stringify({ ...answer, ...(verify && { digest: [...digests].join(' ') }) }));
  await Promise.all(connections.map(close));
}
