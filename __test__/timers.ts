/** Timers that a test advances: callbacks of the global `setTimeout` wait for that. */
import type { ExecutionContext } from 'ava';

interface Waiting {
  readonly run: () => void;
  readonly due: number;
  held: boolean;
}

export interface ManualTimers {
  /** Advances the time, and runs the timers that are due, in order. */
  tick(ms: number): void;
  /** How many waiting timers keep the process alive. */
  readonly held: number;
}

/** Replaces the timers of the runtime until the test is over; only for serial tests, since it affects all code. */
export function manualTimers(t: Pick<ExecutionContext, 'teardown'>): ManualTimers {
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const waiting = new Set<Waiting>();
  let now = 0;
  const setManually = (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): unknown => {
    const timer = {
      run: () => run(...args),
      due: now + ms,
      held: true,
      ref: () => ((timer.held = true), timer),
      unref: () => ((timer.held = false), timer),
      hasRef: () => timer.held,
      refresh: () => timer,
    };
    waiting.add(timer);
    return timer;
  };
  globalThis.setTimeout = setManually as unknown as typeof setTimeout;
  globalThis.clearTimeout = ((timer: Waiting) => {
    if (!waiting.delete(timer)) clear(timer as never);
  }) as unknown as typeof clearTimeout;
  t.teardown(() => {
    globalThis.setTimeout = set;
    globalThis.clearTimeout = clear;
  });
  return {
    tick(ms) {
      const end = now + ms;
      for (;;) {
        const [next] = [...waiting].filter(({ due }) => due <= end).sort((a, b) => a.due - b.due);
        if (next === undefined) break;
        waiting.delete(next);
        now = next.due;
        next.run();
      }
      now = end;
    },
    get held() {
      return [...waiting].filter(({ held }) => held).length;
    },
  };
}
