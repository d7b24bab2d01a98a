/** A message that was received, and how to receive them. */
import type { Properties } from './methods.js';
import type { Table } from './values.js';

/** Where a message comes from. */
export interface Origin {
  /** Its number on its channel; 0 if it was returned. */
  readonly deliveryTag: number;
  /** Whether it may have been delivered before. */
  readonly redelivered: boolean;
  readonly exchange: string;
  readonly routingKey: string;
}

/** What answers a message: its channel. */
export interface Answers {
  ack(tag: number): void;
  nack(tag: number, requeue: boolean): void;
}

/** A message. Its memory is its own. */
export class Message {
  readonly #answers: Answers;
  readonly origin: Origin;
  readonly properties: Properties;
  readonly body: Buffer;

  constructor(answers: Answers, origin: Origin, properties: Properties, body: Buffer) {
    this.#answers = answers;
    this.origin = origin;
    this.properties = properties;
    this.body = body;
  }

  /** The message is dealt with: the broker forgets it. Does not wait. */
  ack(): void {
    this.#answers.ack(this.origin.deliveryTag);
  }

  /** The message is not dealt with: the broker delivers it again or, without `requeue`, drops it or sends it to a dead-letter exchange. */
  nack({ requeue = true } = {}): void {
    this.#answers.nack(this.origin.deliveryTag, requeue);
  }
}

export interface ConsumeOptions {
  /** The broker forgets a message once it is sent. */
  readonly noAck?: boolean;
  readonly exclusive?: boolean;
  readonly arguments?: Table;
  /**
   * Called when the broker ends the consumer, for example because its queue was deleted. If it throws or rejects, the connection is closed
   * with that error.
   */
  readonly onCancel?: () => void | PromiseLike<void>;
}
