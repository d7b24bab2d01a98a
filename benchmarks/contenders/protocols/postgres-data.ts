/** The tables that are read: what the server makes, and what clients must receive. */
import { createHash } from 'node:crypto';

/** How many rows each query returns, and each COPY. */
export const QUERY_ROWS = 10_000;
export const COPY_ROWS = 100_000;

const SELECTED = "g AS id, 'user ' || g AS name, g * 7 % 1000 AS score, md5(g::text) AS hash, g % 2 = 0 AS even";

/** One statement a line. */
export const SETUP = [
  `CREATE TABLE few AS SELECT ${SELECTED} FROM generate_series(1, ${QUERY_ROWS}) g;`,
  `CREATE TABLE many AS SELECT ${SELECTED} FROM generate_series(1, ${COPY_ROWS}) g;`,
  'VACUUM (FREEZE, ANALYZE);',
  '',
].join('\n');

export const QUERY = 'SELECT id, name, score, hash, even FROM few';
export const COPY = 'COPY many (id, name, score, hash, even) TO STDOUT';

export type Row = readonly [id: number, name: string, score: number, hash: string, even: boolean];
export const COLUMNS: Row['length'] = 5;

export function rows(count: number): Row[] {
  return Array.from({ length: count }, (_, i) => {
    const id = i + 1;
    const hash = createHash('md5').update(String(id)).digest('hex');
    return [id, `user ${id}`, (id * 7) % 1000, hash, id % 2 === 0];
  });
}

/** The same rows as text, as COPY sends them. */
export function lines(count: number): string {
  return rows(count)
    .map(([id, name, score, hash, even]) => `${id}\t${name}\t${score}\t${hash}\t${even ? 't' : 'f'}\n`)
    .join('');
}
