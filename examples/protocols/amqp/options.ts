/** How to connect to a broker. */
import type { ConnectOptions } from 'sluice';

export interface AmqpOptions {
  /** Default `localhost`. */
  readonly host?: string | undefined;
  /** Default 5672, or 5671 with TLS. */
  readonly port?: number | undefined;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly virtualHost?: string | undefined;
  /**
   * In seconds, default 60; the broker may reduce it, and 0 turns it off. Both sides send something at least that often. A broker that
   * sends nothing for twice as long is given up.
   */
  readonly heartbeat?: number | undefined;
  /** The longest frame in bytes, at least 4096; default 131,072. The broker may reduce it. */
  readonly frameMax?: number | undefined;
  /** The longest message to receive, in bytes; default 16 MiB. */
  readonly maxMessage?: number | undefined;
  /** How long the broker may take for the handshake, and to agree to `close`, in ms; default 30 seconds. */
  readonly timeout?: number | undefined;
  /** Options of sluice for the connection, such as `ssl`. */
  readonly connect?: ConnectOptions | undefined;
  /**
   * Called with a reason when the broker stops to read what is published, for lack of memory, and with null when it goes on. If it throws
   * or rejects, the connection is closed with that error.
   */
  readonly onBlocked?: ((reason: string | null) => void | PromiseLike<void>) | undefined;
}
