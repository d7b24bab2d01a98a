/**
 * Runs one SQL statement on a Postgres server, and prints the rows with tabs between the columns.
 *
 *     node out/examples/protocols/postgres/psql.js URL SQL [PARAMETER...]
 *
 *     URL: postgres://user:password@host:port/database?sslmode=disable|require|verify-full
 *
 * `COPY ... TO STDOUT` writes its data to the standard output, `COPY ... FROM STDIN` reads it from the standard input. Ctrl-C cancels
 * the statement.
 */
import { connectReadPipe, connectWritePipe, type Stream } from 'sluice';
import { Client } from './client.js';
import { fromUrl } from './connection.js';
import { PostgresError } from './postgres.js';
import type { Value } from './rows.js';

const [url, sql, ...parameters] = process.argv.slice(2);

async function run(client: Client, sql: string, out: Stream): Promise<void> {
  if (/^\s*COPY\b.*\bFROM\s+STDIN\b/is.test(sql)) {
    await using input = await connectReadPipe(process.stdin);
    console.error((await client.copyIn(sql, input.chunks())).command);
  } else if (/^\s*COPY\b.*\bTO\s+STDOUT\b/is.test(sql)) {
    for await (const piece of client.copyOut(sql)) await out.write(piece);
  } else {
    for await (const rows of client.rows(sql, parameters)) {
      await out.write(rows.map((row) => `${row.map(shown).join('\t')}\n`).join(''));
    }
  }
}

/** NULL is empty, and a boolean is a letter, as in the output of `psql`. */
function shown(value: Value): string {
  return value === null ? '' : typeof value === 'boolean' ? String(value)[0]! : String(value);
}

if (url === undefined || sql === undefined) {
  console.error('usage: psql.js URL SQL [PARAMETER...]');
  process.exitCode = 2;
} else {
  const onNotice = (fields: ReadonlyMap<string, string>): void => console.error(fields.get('M'));
  await using out = await connectWritePipe(process.stdout);
  try {
    await using client = await Client.connect({ ...fromUrl(url), onNotice });
    process.on('SIGINT', () => void client.cancel().catch(console.error));
    await run(client, sql, out);
  } catch (error) {
    const where = error instanceof PostgresError ? ` (${error.code})` : '';
    console.error(`${error instanceof Error ? error.message : String(error)}${where}`);
    process.exitCode = 1;
  }
}
