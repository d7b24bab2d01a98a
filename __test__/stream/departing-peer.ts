/**
 * A peer in a worker thread that sends its last bytes and goes while the main thread is blocked: its bytes are in the
 * kernel, and the test's event loop has read none of them. The main thread controls it by messages.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { ExecutionContext } from 'ava';
import { certificates } from '../certificates.js';
import type { Departure, Kind, Order, Place } from './departing-thread.js';

export class DepartingPeer {
  readonly #worker: Worker;
  readonly #gone: Int32Array;

  constructor(t: ExecutionContext) {
    const memory = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    this.#gone = new Int32Array(memory);
    this.#worker = new Worker(new URL('./departing-thread.js', import.meta.url), { workerData: memory });
    t.teardown(() => this.#worker.terminate());
  }

  /** Listens; resolves with the address to connect to. */
  async listen(kind: Kind, path: string): Promise<Place> {
    const { server: identity } = await certificates();
    const place = kind === 'unix' ? { path } : { host: '127.0.0.1', port: 0 };
    return (await this.#order({ do: 'listen', kind, identity, place })) as Place;
  }

  /** Connects; resolves when connected, over TLS after the handshake. */
  async connect(kind: Kind, place: Place): Promise<void> {
    await this.#order({ do: 'connect', kind, place });
  }

  /** Sends bytes; resolves when the kernel has them. */
  async say(words: Uint8Array): Promise<void> {
    await this.#order({ do: 'say', words });
  }

  /** Returns when the peer is gone; the event loop does not turn meanwhile. */
  departNow(departure: Departure): void {
    this.#worker.postMessage({ do: 'depart', ...departure } satisfies Order);
    if (Atomics.wait(this.#gone, 0, 0, 50_000) === 'timed-out') throw new Error('the peer did not depart');
  }

  async #order(order: Order): Promise<unknown> {
    this.#worker.postMessage(order);
    const [answer] = (await once(this.#worker, 'message')) as [unknown];
    return answer;
  }
}
