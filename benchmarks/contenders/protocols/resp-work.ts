/** What the clients of Redis do in each case; see `cases/protocols/resp.ts`. */
import { count, measure, what } from './client.js';
import { ITEMS, PIPELINE, VALUE } from './resp-data.js';

/** How a client does it. */
export interface Client {
  /** Sends all commands without waiting, and resolves with their replies. */
  pipeline(commands: readonly (readonly [string, ...string[]])[]): Promise<readonly unknown[]>;
  /** `RPUSH`, after `DEL`. */
  fill(key: string, items: readonly string[]): Promise<void>;
  lrange(key: string): Promise<readonly unknown[]>;
  get(key: string): Promise<unknown>;
  close(): unknown;
}

export async function work(client: Client): Promise<void> {
  const keys = Array.from({ length: PIPELINE }, (_, i) => `key:${i}`);
  const items = Array.from({ length: ITEMS }, (_, i) => `item ${i}`);
  const sets = keys.map((key) => ['SET', key, VALUE] as const);
  const gets = keys.map((key) => ['GET', key] as const);
  await client.pipeline(sets);
  await client.fill('list', items);
  if (what === 'set') await measure(async () => sum(await client.pipeline(sets), () => 'OK'), PIPELINE);
  else if (what === 'get') await measure(async () => sum(await client.pipeline(gets), () => VALUE), PIPELINE);
  else if (what === 'lrange') await measure(async () => sum(await client.lrange('list'), (i) => items[i]!), 1);
  else if (what === 'single') await measure(async () => sum([await client.get('key:0')], () => VALUE), 1);
  else throw new Error(`no case ${what}, ${count} times`);
  await client.close();
}

function sum(replies: readonly unknown[], expected: (i: number) => string): number {
  let bytes = 0;
  for (let i = 0; i < replies.length; i++) {
    if (replies[i] !== expected(i)) throw new Error(`reply ${i} is ${String(replies[i])}, expected ${expected(i)}`);
    bytes += (replies[i] as string).length;
  }
  return bytes;
}
