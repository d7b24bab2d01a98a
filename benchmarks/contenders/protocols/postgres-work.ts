/** What the clients of Postgres do in each case; see `cases/protocols/postgres.ts`. */
import { count, measure, what } from './client.js';
import { COPY, COPY_ROWS, QUERY, QUERY_ROWS, lines, rows } from './postgres-data.js';

export const DATABASE = 'postgres';
export const USER = 'postgres';

/** How a client does it. */
export interface Client {
  /** All rows of a query, each as an array. */
  query(sql: string): Promise<Iterable<readonly unknown[]>>;
  /** Calls `onData` with the data of a COPY, in pieces. */
  copy(sql: string, onData: (piece: Buffer) => void): Promise<unknown>;
  close(): unknown;
}

export async function work(client: Client): Promise<void> {
  if (what === 'rows') {
    const expected = rows(QUERY_ROWS);
    await measure(async () => compareRows(await client.query(QUERY), expected), QUERY_ROWS);
  } else if (what === 'copy') {
    const expected = Buffer.from(lines(COPY_ROWS));
    await measure(async () => {
      let at = 0;
      await client.copy(COPY, (piece) => {
        const end = at + piece.length;
        if (piece.compare(expected, at, end) !== 0) throw new Error(`the data from byte ${at} to ${end} is wrong`);
        at = end;
      });
      return at;
    }, COPY_ROWS);
  } else throw new Error(`no case ${what}, ${count} times`);
  await client.close();
}

/** Returns the number of values, since not all are text. */
function compareRows(received: Iterable<readonly unknown[]>, expected: readonly (readonly unknown[])[]): number {
  let [index, values] = [0, 0];
  for (const row of received) {
    const wanted = expected[index++];
    if (row.length !== wanted?.length) throw new Error(`row ${index} has ${row.length} values`);
    for (let i = 0; i < row.length; i++)
      if (row[i] !== wanted[i]) throw new Error(`row ${index} has ${String(row[i])}, expected ${String(wanted[i])}`);
    values += row.length;
  }
  return values;
}
