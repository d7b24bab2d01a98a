/** pg: rows as arrays. It has no COPY of its own: this is what pg-copy-streams does, without its stream. */
import pg from 'pg';
import { port } from './client.js';
import { DATABASE, USER, work } from './postgres-work.js';

/** A query whose data is not rows, for `client.query`. */
class Copy {
  readonly text: string;
  readonly #onData: (piece: Buffer) => void;
  readonly #done: (error: Error | null) => void;

  constructor(text: string, onData: (piece: Buffer) => void, done: (error: Error | null) => void) {
    this.text = text;
    this.#onData = onData;
    this.#done = done;
  }

  submit(connection: pg.Connection): void {
    connection.query(this.text);
  }

  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    this.#onData(chunk);
  }

  handleCommandComplete(): void {
    // `handleReadyForQuery` follows.
  }

  handleReadyForQuery(): void {
    this.#done(null);
  }

  handleError(error: Error): void {
    this.#done(error);
  }
}

const client = new pg.Client({ host: '127.0.0.1', port, user: USER, database: DATABASE });
await client.connect();
await work({
  query: async (text) => (await client.query<unknown[]>({ text, rowMode: 'array' })).rows,
  copy: (text, onData) =>
    new Promise<void>((resolve, reject) => {
      client.query(new Copy(text, onData, (error) => (error === null ? resolve() : reject(error))));
    }),
  close: () => client.end(),
});
