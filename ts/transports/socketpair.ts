/**
 * Two sockets that are connected to each other.
 *
 * Node has no `socketpair(2)`. The pair is made over the loopback interface, by a listener that is closed after one connection. Any process
 * on the machine could connect to it first, so an accepted connection is used only if it comes from the port of our own end. All others
 * are destroyed.
 */
import { createServer, Socket, type AddressInfo } from 'node:net';
import { ConnectionError, ignore } from '../errors.js';
import { networkDenied } from './permission.js';

/**
 * Makes two connected TCP sockets: what is written to one can be read from the other. Both are plain `net.Socket`s that belong to the
 * caller, for example to pass one to `connect({ sock })`. They allow half-open connections, and `TCP_NODELAY` is set.
 *
 * ```ts
 * const [left, right] = await socketpair();
 * await using stream = await connect({ sock: left });
 * right.end('hello');
 * console.log((await stream.read()).toString());
 * ```
 *
 * Waits for the connection. Rejects with a `ConnectionError` if it cannot be made, for example `EMFILE` if no file descriptors are left.
 *
 * asyncio: `socket.socketpair()`, which the example for waiting on a socket uses
 */
export function socketpair(): Promise<[Socket, Socket]> {
  return new Promise((resolve, reject) => {
    const listener = createServer({ allowHalfOpen: true, noDelay: true });
    const ours = new Socket({ allowHalfOpen: true });
    ours.setNoDelay(true);
    const candidates = new Set<Socket>();
    let connected = false;

    const fail = (error: Error): void => {
      release();
      ours.destroy();
      for (const candidate of candidates) candidate.destroy();
      const code = (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
      reject(new ConnectionError(code, `socketpair: ${error.message}`, { cause: error }));
    };
    const release = (): void => {
      listener.close();
      // Connections that are accepted until the listener is closed are not used.
      listener.removeAllListeners('connection').on('connection', (late: Socket) => late.on('error', ignore).destroy());
      ours.off('error', fail);
    };
    const match = (): void => {
      if (!connected) return;
      for (const candidate of candidates) {
        candidates.delete(candidate);
        if (!joined(ours, candidate)) {
          candidate.destroy();
          continue;
        }
        release();
        for (const stranger of candidates) stranger.destroy();
        candidate.off('error', ignore);
        resolve([ours, candidate]);
        return;
      }
    };

    listener.on('error', fail);
    listener.on('connection', (socket) => {
      candidates.add(socket.on('error', ignore));
      match();
    });
    ours.on('error', fail);
    const denied = networkDenied();
    if (denied !== null) {
      fail(denied);
      return;
    }
    listener.listen({ host: '127.0.0.1', port: 0 }, () => {
      const { address, port } = listener.address() as AddressInfo;
      ours.connect({ host: address, port }, () => {
        connected = true;
        match();
      });
    });
  });
}

/** Whether the two sockets are the ends of one connection. */
function joined(one: Socket, other: Socket): boolean {
  return (
    one.localPort === other.remotePort &&
    one.remotePort === other.localPort &&
    one.localAddress === other.remoteAddress &&
    one.remoteAddress === other.localAddress
  );
}
