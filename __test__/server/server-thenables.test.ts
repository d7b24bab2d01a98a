/** What a handler, a callback or onError returns is waited for as `await` would wait for it. */
import test from 'ava';
import { once } from 'node:events';
import { startServer, type ClientHandler } from 'sluice';
import { closedByPeer, dial, portOf, turns, until } from '../loopback.js';
import { KINDS, serve } from './servers.js';

// The deprecated functions warn in a test of their own.
process.noDeprecation = true;

type Then = (yes: (value?: unknown) => void, no: (error: unknown) => void) => unknown;

/** Something with a `then` that is no promise. */
function thenable(then: Then): PromiseLike<void> {
  return { then } as never;
}

/** What fails, each with the message `failed`, once. */
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

/** What succeeds, once. */
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
  test(`a thenable of a handler is waited for as by await: it settles once, with what it leads to (${kind})`, async (t) => {
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
    `a thenable of onError that fails becomes one pair of warnings, however it fails (${kind})`,
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

test('a thenable of a callback of startServer is waited for as by await, and its pair stays open', async (t) => {
  for (const [name, make] of Object.entries({ ...failing, ...succeeding })) {
    const errors: unknown[] = [];
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- what is deprecated is what is tested
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
