/** What the clients of AMQP do in each case; see `cases/protocols/amqp.ts`. */
import { BATCH, BODY } from './amqp-data.js';
import { count, measure, unmeasured, what } from './client.js';

/** How a client does it. */
export interface Client {
  /** Makes an empty queue. */
  declare(queue: string): Promise<unknown>;
  /** Publishes `BATCH` messages, and waits until at most `WINDOW - BATCH` are not confirmed. */
  publish(queue: string): Promise<unknown>;
  /** Waits until all are confirmed. */
  confirmed(): Promise<unknown>;
  /** How many messages a queue has. */
  messages(queue: string): Promise<number>;
  /** Consumes with a prefetch of `WINDOW`: calls `onMessage` with each body, and acknowledges the message. */
  consume(queue: string, onMessage: (body: Buffer) => void): Promise<unknown>;
  delete(queue: string): Promise<unknown>;
  close(): Promise<unknown>;
}

export async function work(client: Client): Promise<void> {
  const queue = `bench-${process.pid}`;
  await client.declare(queue);
  const publish = async (): Promise<number> => {
    await client.publish(queue);
    return BATCH * BODY.length;
  };
  if (what === 'publish') await measure(publish, BATCH);
  else if (what === 'consume') for (let i = 0; i < count + unmeasured; i++) await publish();
  else throw new Error(`no case ${what}, ${count} times`);
  await client.confirmed();
  const [published, expected] = [await client.messages(queue), (count + unmeasured) * BATCH];
  if (published !== expected) throw new Error(`the queue has ${published} messages, expected ${expected}`);
  if (what === 'consume') await consume(client, queue);
  await client.delete(queue);
  await client.close();
}

async function consume(client: Client, queue: string): Promise<void> {
  let [received, expected] = [0, 0];
  let wake = (): void => undefined;
  await client.consume(queue, (body) => {
    if (!body.equals(BODY)) {
      // A client may ignore what this throws.
      console.error(`message ${received} is ${body.toString()}`);
      process.exit(1);
    }
    if (++received === expected) wake();
  });
  await measure(async () => {
    expected += BATCH;
    if (received < expected) await new Promise<void>((resolve) => (wake = resolve));
    return BATCH * BODY.length;
  }, BATCH);
}
