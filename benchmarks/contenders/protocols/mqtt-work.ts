/** What the clients of MQTT do; see `cases/protocols/mqtt.ts`. */
import { count, measure, what } from './client.js';
import { BURST, FILTER, PAYLOAD, PUBLISHERS, START, TOPICS } from './mqtt-data.js';

/** How a client does it, in MQTT 3.1.1 with QoS 0. */
export interface Client {
  subscribe(filter: string): Promise<unknown>;
  publish(topic: string, payload: string): unknown;
  close(): Promise<unknown>;
}

let [received, expected] = [0, 0];
let wake = (): void => undefined;
const topics = new Set(TOPICS);

/** Is called by the client with each message. */
export function receive(topic: string, payload: Uint8Array): void {
  if (!PAYLOAD.equals(payload) || !topics.has(topic)) {
    // A client may ignore what this throws.
    console.error(`message ${received} to ${topic} is ${Buffer.from(payload).toString()}`);
    process.exit(1);
  }
  if (++received === expected) wake();
}

export async function work(client: Client): Promise<void> {
  if (what !== 'fan-in') throw new Error(`no case ${what}, ${count} times`);
  await client.subscribe(FILTER);
  await measure(async () => {
    expected += PUBLISHERS * BURST;
    const all = new Promise<void>((resolve) => (wake = resolve));
    client.publish(START, '');
    await all;
    return PUBLISHERS * BURST * PAYLOAD.length;
  }, PUBLISHERS * BURST);
  await client.close();
}
