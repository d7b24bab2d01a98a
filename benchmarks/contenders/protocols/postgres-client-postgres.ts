/** The package postgres: rows as arrays, COPY as a stream. */
import postgres from 'postgres';
import { count, port, what } from './client.js';
import { DATABASE, USER, work } from './postgres-work.js';

// A connection does not answer any more after a COPY TO STDOUT, so each takes another one, and all are opened before.
const connections = what === 'copy' ? 2 * count : 1;
const sql = postgres({ host: '127.0.0.1', port, user: USER, database: DATABASE, max: connections });
await Promise.all(Array.from({ length: connections }, () => sql`SELECT pg_sleep(0.01)`));
await work({
  query: (text) => sql.unsafe(text).values() as Promise<unknown[][]>,
  copy: async (text, onData) => {
    for await (const piece of await sql.unsafe(text).readable()) onData(piece as Buffer);
  },
  close: () => sql.end({ timeout: 0 }),
});
