/** ioredis: `pipeline()`, which is its fastest way of sending many commands. */
import { Redis } from 'ioredis';
import { port } from './client.js';
import { work } from './resp-work.js';

const client = new Redis(port, '127.0.0.1');
await work({
  pipeline: async (commands) => {
    const pipeline = client.pipeline();
    for (const [name, key, value] of commands) {
      if (name === 'SET') pipeline.set(key!, value!);
      else pipeline.get(key!);
    }
    const replies = (await pipeline.exec()) ?? [];
    return replies.map(([error, reply]) => error ?? reply);
  },
  fill: async (key, items) => {
    await client.del(key);
    await client.rpush(key, ...items);
  },
  lrange: (key) => client.lrange(key, 0, -1),
  get: (key) => client.get(key),
  close: () => client.disconnect(),
});
