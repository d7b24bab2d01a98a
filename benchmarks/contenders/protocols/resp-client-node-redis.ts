/** node-redis: commands in one turn are pipelined. */
import { createClient } from 'redis';
import { port } from './client.js';
import { work } from './resp-work.js';

const client = createClient({ socket: { host: '127.0.0.1', port } });
await client.connect();
await work({
  pipeline: (commands) =>
    Promise.all(commands.map(([name, key, value]) => (name === 'SET' ? client.set(key!, value!) : client.get(key!)))),
  fill: async (key, items) => {
    await client.del(key);
    await client.rPush(key, [...items]);
  },
  lrange: (key) => client.lRange(key, 0, -1),
  get: (key) => client.get(key),
  close: () => client.close(),
});
