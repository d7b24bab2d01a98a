/** The result of a handler, a callback or onError is awaited as `await` would do it. */
// Runs once: it is about the results of handlers; nothing is read of these connections, or next to nothing.
import test from 'ava';
import { once } from 'node:events';
import { startServer, type ClientHandler } from 'sluice';
import { closedByPeer, dial, portOf, turns, until } from '../loopback.js';
import { KINDS, serve } from './servers.js';

// The deprecation warnings are tested in another file.
process.noDeprecation = true;

type Then = (yes: (value?: unknown) => void, no: (error: unknown) => void) => unknown;

/** An object with a `then` method that is not a promise. */
function thenable(then: Then): PromiseLike<void> {
  return { then } as never;
}

/** Thenables that fail once, with the message `failed`. */
const failing: Record<string, () => PromiseLike<void>> = {
  'resolves with a rejecting promise': () => thenable((yes) => yes(Promise.reject(new Error('failed')))),
  'resolves with a rejecting thenable': () => thenable((yes) => yes(thenable((_, no) => no(new Error('failed'))))),
  'rejects twice': () =>
    thenable((_, no) => {
      no(new Error('failed'));
      no(new Error('failed again'));
    }),
  'rejects, then resolves': () =>
    thenable((yes, no) => {
      no(new Error('failed'));
      yes();
    }),
  'throws in then': () =>
    thenable(() => {
      throw new Error('failed');
    }),
  'is a promise whose own then does nothing': () =>
    Object.assign(Promise.reject(new Error('failed')), { then: () => undefined }),
};

/** Thenables that succeed once. */
const succeeding: Record<string, () => PromiseLike<void>> = {
  'resolves, then rejects': () =>
    thenable((yes, no) => {
      yes();
      no(new Error('too late'));
    }),
  'resolves, then throws': () =>
    thenable((yes) => {
      yes();
      throw new Error('too late');
    }),
  'resolves with a promise, then rejects': () =>
    thenable((yes, no) => {
      yes(turns(2));
      no(new Error('too late'));
    }),
};

for (const kind of KINDS) {
  test(`a thenable returned by a handler is awaited as by await, and settles once (${kind})`, async (t) => {
    for (const [name, make] of Object.entries({ ...failing, ...succeeding })) {
      const errors: unknown[] = [];
      const handler: ClientHandler = () => make();
      const { server, dial } = await serve(t, kind, handler, { onError: (error) => void errors.push(error) });
      const peer = await dial();
      await closedByPeer(peer);
      await server.close();
      await turns(5);
      t.deepEqual(
        errors.map((error) => (error as Error).message),
        name in failing ? ['failed'] : [],
        name,
      );
    }
  });

  test(`a stream stays open while the promise that a thenable resolved with is pending (${kind})`, async (t) => {
    let goOn!: () => void;
    const pending = new Promise<void>((resolve) => (goOn = resolve));
    let closing: boolean | undefined;
    let started = false;
    const handler: ClientHandler = (stream) => {
      started = true;
      return thenable((yes) => {
        yes(pending.then(() => (closing = stream.isClosing())));
      });
    };
    const { server, dial } = await serve(t, kind, handler, { shutdownTimeout: 60_000 });
    const peer = await dial();
    await until(() => started);
    await turns(10);
    goOn();
    await closedByPeer(peer);
    t.false(closing);
    await server.close();
  });

  test.serial(
    `a thenable returned by onError that fails becomes one pair of warnings, however it fails (${kind})`,
    async (t) => {
      for (const [name, make] of Object.entries({ ...failing, ...succeeding })) {
        const warnings: string[] = [];
        const note = ({ name, message }: Error): void => {
          if (name === 'StreamServerWarning') warnings.push(message);
        };
        const printers = process.listeners('warning');
        process.removeAllListeners('warning').on('warning', note);
        try {
          let calls = 0;
          const handler: ClientHandler = () => {
            throw new Error('of the handler');
          };
          const onError = (): PromiseLike<void> => {
            calls++;
            return make();
          };
          const { server, dial } = await serve(t, kind, handler, { onError });
          const peer = await dial();
          await until(() => calls === 1);
          peer.destroy();
          await server.close();
          await turns(5);
          const [first, second] = warnings;
          t.is(warnings.length, name in failing ? 2 : 0, name);
          if (name in failing) {
            t.regex(first ?? '', /of the handler$/, name);
            t.regex(second ?? '', /: onError failed: failed$/, name);
          }
        } finally {
          process.off('warning', note);
          for (const printer of printers) process.on('warning', printer);
        }
      }
    },
  );
}

test('a thenable returned by a callback of startServer is awaited, and its pair stays open', async (t) => {
  for (const [name, make] of Object.entries({ ...failing, ...succeeding })) {
    const errors: unknown[] = [];
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- the deprecated function is under test
    const server = await startServer(() => make(), '127.0.0.1', 0, {
      shutdownTimeout: 50,
      onError: (error) => void errors.push(error),
    });
    const peer = await dial(t, portOf(server));
    if (name in failing) {
      await closedByPeer(peer);
    } else {
      await turns(10);
      t.false(peer.readableEnded, name);
      peer.destroy();
      await once(peer, 'close');
    }
    await server.close();
    t.deepEqual(
      errors.map((error) => (error as Error).message),
      name in failing ? ['failed'] : [],
      name,
    );
  }
});
