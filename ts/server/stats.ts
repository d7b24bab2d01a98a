/** What `server.stats()` counts. */
import type { DropReason } from '../diagnostics.js';

/** The counters of a server. They go on counting while it closes. */
export interface ServerStats {
  /**
   * How many connections there are now, including those that wait for `startServing`, for a PROXY header or for a TLS handshake, and those
   * that have ended but whose handler is still running. `maxConnections` bounds this number.
   */
  connections: number;
  /** How many connections the server has accepted so far, including those that it has refused after that. */
  accepted: number;
  /** How many handlers are running: those that were called and have not settled. */
  handlers: number;
  /** How many connections were refused so far, for each reason. With `descriptors`, how many times the runtime has refused some. */
  dropped: Record<DropReason, number>;
  /** The sums of `bytesRead` and of `bytesWritten` of all streams that the handler was called with, ended or not. */
  bytesRead: number;
  bytesWritten: number;
}

/** A connection that was passed to the handler. */
interface Served {
  readonly running: boolean;
  readonly open: boolean;
  readonly stream: { readonly bytesRead: number; readonly bytesWritten: number } | null;
}

/** The counters that a server does not have anyway. */
export class ServerCounters {
  accepted = 0;
  readonly #dropped: Record<DropReason, number> = {
    maxConnections: 0,
    maxConnectionsPerAddress: 0,
    blockList: 0,
    accept: 0,
    failed: 0,
    proxyProtocol: 0,
    sock: 0,
    descriptors: 0,
  };
  #bytesRead = 0;
  #bytesWritten = 0;

  dropped(reason: DropReason): void {
    this.#dropped[reason]++;
  }

  /** A stream has ended. */
  ended(bytesRead: number, bytesWritten: number): void {
    this.#bytesRead += bytesRead;
    this.#bytesWritten += bytesWritten;
  }

  /**
   * @param connections - how many there are
   * @param clients - those that were passed to the handler
   */
  stats(connections: number, clients: Iterable<Served>): ServerStats {
    const { accepted } = this;
    const dropped = { ...this.#dropped };
    const stats = {
      connections,
      accepted,
      handlers: 0,
      dropped,
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
    };
    for (const { running, open, stream } of clients) {
      if (running) stats.handlers++;
      if (!open || stream === null) continue;
      stats.bytesRead += stream.bytesRead;
      stats.bytesWritten += stream.bytesWritten;
    }
    return stats;
  }
}
