/** sluice: the client of examples/protocols/postgres. */
import { Client } from '../../../examples/protocols/postgres/client.js';
import { port } from './client.js';
import { DATABASE, USER, work } from './postgres-work.js';

const client = await Client.connect({ host: '127.0.0.1', port, user: USER, database: DATABASE });
await work({
  query: async (sql) => (await client.query(sql)).rows,
  copy: async (sql, onData) => {
    for await (const piece of client.copyOut(sql)) onData(piece);
  },
  close: () => client.close(),
});
