/** What a connection to a broker fails with, besides the errors of sluice. */

/** The broker has closed the channel or the connection, with a reply code such as 404. */
export class AmqpError extends Error {
  override readonly name = 'AmqpError';
  readonly scope: 'channel' | 'connection';
  readonly code: number;

  constructor(scope: 'channel' | 'connection', code: number, text: string) {
    super(`The broker closed the ${scope}: ${code} ${text}`);
    this.scope = scope;
    this.code = code;
  }
}

/** The broker has sent something that is not AMQP 0-9-1. The connection is closed with `code` as the reason. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly code: number;

  constructor(message: string, code: 501 | 502 | 503 | 504 | 505 = 502) {
    super(`AMQP: ${message}`);
    this.code = code;
  }
}

/** The broker has refused messages that were published with confirms. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  /** What `publish` returned for each of them. */
  readonly tags: readonly number[];

  constructor(tags: readonly number[]) {
    super(`The broker refused ${tags.length === 1 ? 'a message' : `${tags.length} messages`}`);
    this.tags = tags;
  }
}

/** The channel or the connection was closed on this side. */
export class ClosedError extends Error {
  override readonly name = 'ClosedError';
}
