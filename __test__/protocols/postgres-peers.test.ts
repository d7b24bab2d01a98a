/** The Postgres example against Debian's server, and next to npm's `pg`. */
// Runs once: the examples use only the public calls of a stream, and each way of reading has its own tests of sockets.
import { Buffer } from 'node:buffer';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import pg from 'pg';
import { LimitOverrunError } from 'sluice';
import { Client } from '../../examples/protocols/postgres/client.js';
import type { Options } from '../../examples/protocols/postgres/connection.js';
import { PostgresError } from '../../examples/protocols/postgres/postgres.js';
import type { Row } from '../../examples/protocols/postgres/rows.js';
import { certificates } from '../certificates.js';
import { turns } from '../loopback.js';
import { Process, Program, example } from '../program.js';
import { PASSWORD, database, type Database } from './postgres-server.js';

/** A client of the test's own. */
async function connected(t: ExecutionContext, options: Options): Promise<Client> {
  const client = await Client.connect(options);
  t.teardown(() => client.abort());
  return client;
}

async function tls(database: Database): Promise<Options> {
  const { ca } = await certificates();
  return { ...database.options, ssl: { ca }, serverHostname: 'localhost' };
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Waits until the server is in this state with the request of a client. */
async function waitsFor(database: Database, client: Client, event: string): Promise<void> {
  await using other = await Client.connect(database.options);
  const pid = client.pid;
  for (;;) {
    const { rows } = await other.query('SELECT wait_event FROM pg_stat_activity WHERE pid = $1', [pid]);
    if (rows[0]?.[0] === event) return;
    await sleep(20);
  }
}

test('each way to log in works in plain text, over TLS and through a Unix socket', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const secure = await tls(db);
  const who = 'SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()';
  for (const user of ['postgres', 'md5', 'scram', 'clear']) {
    const login = { user, password: PASSWORD, database: 'postgres' };
    for (const options of [db.options, secure, { host: db.folder, port: db.port }]) {
      if (user === 'clear' && options === db.options) continue;
      const client = await Client.connect({ ...options, ...login });
      t.deepEqual((await client.query(who)).rows, [[user, options === secure]]);
      await client.close();
    }
  }
});

test('a login that the server refuses is its error, and a clear text password is not sent without TLS', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const attempt = (options: Partial<Options>): Promise<Client> =>
    Client.connect({ ...db.options, database: 'postgres', ...options });
  for (const user of ['md5', 'scram']) {
    await t.throwsAsync(attempt({ user, password: 'wrong' }), { instanceOf: PostgresError, code: '28P01' });
    await t.throwsAsync(attempt({ user }), { message: /asks for a password/ });
  }
  await t.throwsAsync(attempt({ user: 'clear', password: PASSWORD }), { message: /clear text password without TLS/ });
  await t.throwsAsync(attempt({ user: 'stranger' }), { instanceOf: PostgresError, code: '28000' });
  await t.throwsAsync(attempt({ database: 'missing' }), { instanceOf: PostgresError, code: '3D000' });
});

test('a certificate that is not trusted or for another name is refused', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const { ca, otherCa } = await certificates();
  await t.throwsAsync(Client.connect({ ...db.options, ssl: { ca: otherCa }, serverHostname: 'localhost' }));
  await t.throwsAsync(Client.connect({ ...db.options, ssl: { ca }, serverHostname: 'other.example' }), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  });
});

test('rows are those that pg reads, whether simple, extended, prepared or in batches', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const client = await connected(t, db.options);
  const other = new pg.Client({ host: '127.0.0.1', port: db.port, user: 'postgres' });
  await other.connect();
  t.teardown(() => other.end());
  const statement = `
    SELECT g, -g * 10000000000, g::int2, g::float8 / 7, g / 3::float4, g % 2 = 0, NULLIF(g % 5, 0), repeat('x', g % 70),
      repeat('é€', g % 40), CASE g % 3 WHEN 0 THEN NULL ELSE md5(g::text) END, g::numeric / 3, '', 'infinity'::float8,
      '-2147483648'::int4, repeat(g::text, 300)
    FROM generate_series(1, 1500) g`;
  const { rows } = await other.query<Row>({ text: statement, rowMode: 'array' });
  t.is(rows.length, 1500);
  t.deepEqual((await client.query(statement)).rows, rows);
  t.deepEqual((await client.simple(statement))[0]!.rows, rows);
  t.deepEqual((await client.query(await client.prepare(statement))).rows, rows);
  const batches = await collect(client.rows(statement));
  t.true(batches.length > 1);
  t.deepEqual(batches.flat(), rows);
});

test('parameters arrive as what they are', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const client = await connected(t, db.options);
  const date = new Date('2026-11-27T01:02:03.456Z');
  const long = 'ä'.repeat(100_000);
  const { rows, fields, command } = await client.query(
    `SELECT $1::text, $2::int4, $3::int8, $4::bool, $5::timestamptz = '2026-11-27 01:02:03.456+00', encode($6::bytea, 'hex'), $7::text,
      $8::float8, $9::text`,
    ['€\n', -7, 2n ** 62n, true, date, Buffer.of(0, 255, 128), null, 0.1, long],
  );
  t.deepEqual(rows, [['€\n', -7, '4611686018427387904', true, true, '00ff80', null, 0.1, long]]);
  t.is(fields[1]?.type, 23);
  t.is(command, 'SELECT 1');
});

test('several statements have a result each, and the state of the transaction is known', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const client = await connected(t, db.options);
  const results = await client.simple('BEGIN; CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1), (2); TABLE t;');
  t.deepEqual(
    results.map(({ command, count, rows }) => [command, count, rows]),
    [
      ['BEGIN', null, []],
      ['CREATE TABLE', null, []],
      ['INSERT 0 2', 2, []],
      ['SELECT 2', 2, [[1], [2]]],
    ],
  );
  t.is(client.session.transaction, 'T');
  const error = await t.throwsAsync(client.simple('SELECT 1; SELECT 1 / 0; SELECT 2'), { instanceOf: PostgresError });
  t.is(error.code, '22012');
  t.is(client.session.transaction, 'E');
  await t.throwsAsync(client.query('SELECT 1'), { code: '25P02' });
  await client.simple('ROLLBACK');
  t.is(client.session.transaction, 'I');
  t.deepEqual(await client.simple(''), [{ command: '', count: null, fields: [], rows: [] }]);
  t.regex(client.session.parameters.get('server_version') ?? '', /^\d+/);
});

test('requests that are sent together are answered in order, and an error is that of its own request', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const client = await connected(t, db.options);
  const prepared = await client.prepare('SELECT 10 / $1::int4, $2::text');
  const order: number[] = [];
  const answers = await Promise.all(
    Array.from({ length: 500 }, (_, i) => {
      const query = i % 2 === 0 ? client.query(prepared, [i % 10, `row ${i}`]) : client.query('SELECT $1::int4', [i]);
      return query
        .then(
          ({ rows }) => rows[0],
          (error: unknown) => (error as PostgresError).code,
        )
        .finally(() => order.push(i));
    }),
  );
  answers.forEach((answer, i) => {
    if (i % 2 === 1) t.deepEqual(answer, [i]);
    else if (i % 10 === 0) t.is(answer, '22012');
    else t.deepEqual(answer, [Math.trunc(10 / (i % 10)), `row ${i}`]);
  });
  t.deepEqual(order, [...order.keys()]);
});

test('a statement can be used until it is deallocated', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const client = await connected(t, db.options);
  const statement = await client.prepare('SELECT 1 AS one');
  t.deepEqual(statement.fields, [{ name: 'one', type: 23, format: 0 }]);
  t.deepEqual((await client.query(statement)).rows, [[1]]);
  await client.deallocate(statement);
  await t.throwsAsync(client.query(statement), { code: '26000' });
  await t.throwsAsync(client.prepare('SELEC'), { code: '42601' });
  t.deepEqual((await client.query('SELECT 2')).rows, [[2]]);
});

test('COPY in either direction carries the same bytes, however they are cut, in plain text and over TLS', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const lines = Array.from({ length: 10_000 }, (_, i) => `${i}\t${'é'.repeat(i % 50)}\t${i % 3 === 0 ? '\\N' : i}\n`);
  const data = Buffer.from(lines.join(''));
  for (const options of [db.options, await tls(db)]) {
    const client = await connected(t, options);
    await client.simple('CREATE TEMP TABLE t (a int, b text, c int)');
    function* pieces(): Generator<Buffer> {
      for (let at = 0, size = 1; at < data.length; at += size, size = (size * 7) % 99_991)
        yield data.subarray(at, at + size);
    }
    const copied = client.copyIn('COPY t FROM STDIN', pieces());
    const counted = client.query('SELECT count(*)::int4 FROM t'); // is sent after the data
    t.is((await copied).command, 'COPY 10000');
    t.deepEqual((await counted).rows, [[10_000]]);
    const read = await collect(client.copyOut('COPY (SELECT * FROM t ORDER BY a) TO STDOUT'));
    t.true(Buffer.concat(read).equals(data));
    const twice = Buffer.concat([data, data]); // longer than one message
    t.is((await client.copyIn('COPY t FROM STDIN', [twice])).count, 20_000);
    t.true(read.every((piece) => piece.at(-1) === 0x0a));
    t.deepEqual(await collect(client.copyOut('COPY (SELECT 1 WHERE false) TO STDOUT')), []);
    await client.close();
  }
});

test('a COPY that the server or the source gives up changes nothing, and the client goes on', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const client = await connected(t, db.options);
  await client.simple('CREATE TEMP TABLE t (a int)');
  const failing = async function* (): AsyncGenerator<string> {
    yield '1\n';
    await turns(1);
    throw new Error('the source is dry');
  };
  await t.throwsAsync(client.copyIn('COPY t FROM STDIN', failing()), { message: 'the source is dry' });
  const bad = Array.from({ length: 10_000 }, (_, i) => (i === 10 ? 'x\n' : `${i}\n`));
  await t.throwsAsync(client.copyIn('COPY t FROM STDIN', bad), { code: '22P02' });
  await t.throwsAsync(client.copyIn('COPY missing FROM STDIN', ['1\n']), { code: '42P01' });
  await t.throwsAsync(client.copyIn('SELECT 1', ['1\n']), { instanceOf: TypeError, message: /not a COPY FROM STDIN/ });
  await t.throwsAsync(collect(client.copyOut('COPY missing TO STDOUT')), { code: '42P01' });
  await t.throwsAsync(collect(client.copyOut('SELECT 1')), { instanceOf: TypeError, message: /not a COPY TO STDOUT/ });
  t.deepEqual((await client.query('SELECT count(*)::int4 FROM t')).rows, [[0]]);
  const twice = client.copyIn('COPY t FROM STDIN; COPY t FROM STDIN', ['1\n']);
  await t.throwsAsync(twice, { message: /one COPY only/ }); // the server waits for data that does not exist
});

test('cancel() stops the request that runs, in plain text and over TLS, and the client goes on', async (t) => {
  const db = await database(t);
  if (db === null) return;
  for (const options of [db.options, await tls(db), { ...db.options, host: db.folder }]) {
    const client = await connected(t, options);
    const sleeping = t.throwsAsync(client.query('SELECT pg_sleep(1000)'), { instanceOf: PostgresError, code: '57014' });
    await waitsFor(db, client, 'PgSleep');
    await client.cancel();
    await sleeping;
    t.deepEqual((await client.query('SELECT 1')).rows, [[1]]);
  }
});

test('the server waits for a client that does not read, and the rest is dropped if a loop is left early', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const client = await connected(t, db.options);
  const many = "SELECT g, repeat('x', 1000) FROM generate_series(1, 20000) g";
  for (const pieces of [client.rows(many), client.copyOut(`COPY (${many}) TO STDOUT`)]) {
    for await (const piece of pieces) {
      t.true(piece.length > 0);
      await waitsFor(db, client, 'ClientWrite');
      break;
    }
    t.deepEqual((await client.query('SELECT 1')).rows, [[1]]);
  }
  const failing = collect(client.rows('SELECT 1000 / (1000 - g) FROM generate_series(1, 2000) g'));
  await t.throwsAsync(failing, { instanceOf: PostgresError, code: '22012' });
});

test('a connection that the server terminates rejects all requests with the reason', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const [client, other] = [await connected(t, db.options), await connected(t, db.options)];
  const queries = [client.query('SELECT pg_sleep(1000)'), client.query('SELECT 1')];
  const rejected = Promise.all(
    queries.map((query) => t.throwsAsync(query, { instanceOf: PostgresError, code: '57P01' })),
  );
  await waitsFor(db, client, 'PgSleep');
  t.deepEqual((await other.query('SELECT pg_terminate_backend($1)', [client.pid])).rows, [[true]]);
  await rejected;
  await t.throwsAsync(client.query('SELECT 1'), { code: '57P01' });
  await client.close();
});

test('a row of megabytes is read, and one over maxMessage is refused', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const client = await connected(t, { ...db.options, maxMessage: 5_000_000 });
  t.is(((await client.query("SELECT repeat('é', 2000000)")).rows[0]![0] as string).length, 2_000_000);
  await t.throwsAsync(client.query("SELECT repeat('x', 5000000)"), { instanceOf: LimitOverrunError });
  await client.close();
});

test('the program prints rows, copies in both directions, and reports errors', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const url = `postgres://scram:${encodeURIComponent(PASSWORD)}@127.0.0.1:${db.port}/postgres?sslmode=require`;
  const psql = (sql: string, ...parameters: string[]): Program =>
    new Program(t, example('protocols/postgres/psql'), [url, sql, ...parameters]);
  const program = psql('SELECT $1, NULL, true, 1.5 UNION ALL SELECT NULL, NULL, false, 2', 'é');
  t.like(await program.ended, { code: 0, stdout: 'é\t\tt\t1.5\n\t\tf\t2\n', stderr: '' });
  t.like(await psql('COPY (SELECT 1 UNION ALL SELECT 2) TO STDOUT').ended, { code: 0, stdout: '1\n2\n' });
  await using admin = await Client.connect(db.options);
  await admin.simple('CREATE TABLE copied (a int); GRANT ALL ON copied TO scram');
  const args = [example('protocols/postgres/psql'), url, 'COPY copied FROM STDIN'];
  const copying = new Process(t, process.execPath, args, { input: true });
  copying.type('1\n2\n');
  copying.hangUp();
  t.like(await copying.ended, { code: 0, stderr: 'COPY 2\n' });
  t.deepEqual((await admin.query('TABLE copied')).rows, [[1], [2]]);
  t.like(await psql('SELEC').ended, { code: 1, stderr: 'syntax error at or near "SELEC" (42601)\n' });
});

test('the program prints notices, and Ctrl-C cancels its statement', async (t) => {
  const db = await database(t);
  if (db === null) return;
  const program = new Program(t, example('protocols/postgres/psql'), [
    `postgres://postgres@127.0.0.1:${db.port}/postgres`,
    "DO $$ BEGIN RAISE NOTICE 'started'; PERFORM pg_sleep(1000); END $$",
  ]);
  await program.complains(/started/);
  program.kill('SIGINT');
  t.like(await program.ended, { code: 1, stderr: 'started\ncanceling statement due to user request (57014)\n' });
});
