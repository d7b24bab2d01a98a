/** The packets of the client that wait for an answer, by their identifier. */
import { MqttError, Reason, type Ack, type SubscriptionAck } from './mqtt.js';

/** By their type. */
interface Answers {
  puback: Ack;
  suback: SubscriptionAck;
  unsuback: SubscriptionAck;
}
export type Answer = Ack | SubscriptionAck;

interface Request {
  readonly expected: keyof Answers;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

export class Requests {
  /** How many may wait for an answer. */
  readonly #most: number;
  readonly #sent = new Map<number, Request>();
  /** Calls that wait until fewer have no answer. */
  readonly #waiting: (() => void)[] = [];
  #lastId = 0;
  #failure: Error | null = null;

  constructor(most: number) {
    this.#most = most;
  }

  /** Sends a packet with an identifier as soon as there is room for it, and resolves with the answer. */
  async send<T extends keyof Answers>(expected: T, send: (id: number) => void): Promise<Answers[T]> {
    while (this.#sent.size >= this.#most) await new Promise<void>((go) => this.#waiting.push(go));
    if (this.#failure !== null) throw this.#failure;
    do this.#lastId = (this.#lastId % 65535) + 1;
    while (this.#sent.has(this.#lastId));
    const id = this.#lastId;
    try {
      send(id);
    } catch (error) {
      // There is nothing to wait for, and still room for the next.
      this.#waiting.shift()?.();
      throw error;
    }
    const answer = new Promise<Answer>((resolve, reject) => this.#sent.set(id, { expected, resolve, reject }));
    return answer as Promise<Answers[T]>;
  }

  /** An answer has arrived. */
  answer(answer: Answer): void {
    const request = this.#sent.get(answer.id);
    if (request === undefined) return;
    if (answer.type !== request.expected)
      throw new MqttError(Reason.protocolError, `${answer.type} where ${request.expected} is expected`);
    request.resolve(answer);
    this.#sent.delete(answer.id);
    this.#waiting.shift()?.();
  }

  /** There will be no answers any more. */
  fail(error: Error): void {
    this.#failure = error;
    for (const { reject } of this.#sent.values()) reject(error);
    this.#sent.clear();
    for (const go of this.#waiting) go();
  }
}
