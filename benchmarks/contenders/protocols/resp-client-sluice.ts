/** sluice: the client of examples/protocols/resp. */
import { RespClient } from '../../../examples/protocols/resp/client.js';
import { port } from './client.js';
import { work } from './resp-work.js';

const client = await RespClient.connect('127.0.0.1', port);
await work({
  pipeline: (commands) => Promise.all(commands.map((words) => client.call(...words))),
  fill: async (key, items) => {
    await client.call('DEL', key);
    await client.call('RPUSH', key, ...items);
  },
  lrange: (key) => client.call('LRANGE', key, 0, -1) as Promise<string[]>,
  get: (key) => client.call('GET', key),
  close: () => client.close(),
});
