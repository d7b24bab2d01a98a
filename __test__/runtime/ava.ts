/**
 * The part of ava that the tests use, for runtimes on which ava does not run: its processes communicate in ways
 * that only Node supports. `run.ts` loads a test file with this module in place of ava and then calls {@link runTests}.
 *
 * As with ava, the serial tests of a file run first and one by one, then all others at once, then the hooks of
 * `test.after`,
 * of which only failures are reported; a failed assertion throws, and fails its test even if the error is caught; a
 * test without an assertion fails. Unlike ava, every test has a time limit: a test that hangs on a runtime
 * does not affect those that pass there. Equality is `util.isDeepStrictEqual` of the runtime.
 */
import { isDeepStrictEqual, inspect } from 'node:util';

/** How a test ended; `error` is the printed form of its failure. */
export interface Result {
  readonly title: string;
  readonly error?: string;
  readonly skipped?: true;
}

/**
 * The time limit of a test that sets none: less than closing TLS waits for a peer that does not end (30 s). Under Wine, each turn of
 * the event loop takes several times as long, and under qemu everything does: `test-runtimes.mjs` sets the limit.
 */
const LONGEST_MS = Number(process.env['SLUICE_TEST_LIMIT'] ?? (process.platform === 'win32' ? 75_000 : 25_000));

interface ThrowsExpectation {
  any?: boolean;
  code?: string | number;
  instanceOf?: new (...args: never[]) => unknown;
  is?: unknown;
  message?: string | RegExp | ((message: string) => boolean);
  name?: string;
}

type Implementation = (t: Context) => unknown;

interface Test {
  readonly title: string;
  readonly implementation: Implementation;
  readonly serial: boolean;
  readonly skipped: boolean;
}

class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

class Context {
  readonly title: string;
  readonly context: Record<string, unknown> = {};
  passed = false;
  assertions = 0;
  failure: AssertionError | null = null;
  longest = LONGEST_MS;
  readonly logs: string[] = [];
  readonly teardowns: (() => unknown)[] = [];

  constructor(title: string) {
    this.title = title;
  }

  // ava binds its assertions, so tests may pass them on as functions.
  readonly pass = (_message?: string): true => this.#check(true, '');
  readonly fail = (message?: string): true => this.#check(false, 'fail', message);
  readonly is = (actual: unknown, expected: unknown, message?: string): true =>
    this.#check(Object.is(actual, expected), `${inspect(actual)} is not ${inspect(expected)}`, message);
  readonly not = (actual: unknown, expected: unknown, message?: string): true =>
    this.#check(!Object.is(actual, expected), `is ${inspect(actual)}`, message);
  readonly true = (actual: unknown, message?: string): true => this.is(actual, true, message);
  readonly false = (actual: unknown, message?: string): true => this.is(actual, false, message);
  readonly truthy = (actual: unknown, message?: string): true =>
    this.#check(Boolean(actual), `${inspect(actual)} is not truthy`, message);
  readonly falsy = (actual: unknown, message?: string): true =>
    this.#check(!actual, `${inspect(actual)} is not falsy`, message);
  readonly deepEqual = (actual: unknown, expected: unknown, message?: string): true =>
    this.#check(isDeepStrictEqual(actual, expected), `${inspect(actual)} does not equal ${inspect(expected)}`, message);
  readonly notDeepEqual = (actual: unknown, expected: unknown, message?: string): true =>
    this.#check(!isDeepStrictEqual(actual, expected), `equals ${inspect(expected)}`, message);
  readonly like = (actual: unknown, selector: object, message?: string): true =>
    this.deepEqual(selected(actual, selector), selected(selector, selector), message);
  readonly regex = (actual: string, pattern: RegExp, message?: string): true =>
    this.#check(matches(pattern, actual), `${inspect(actual)} does not match ${String(pattern)}`, message);
  readonly notRegex = (actual: string, pattern: RegExp, message?: string): true =>
    this.#check(!matches(pattern, actual), `${inspect(actual)} matches ${String(pattern)}`, message);

  readonly throws = (call: () => unknown, expected?: ThrowsExpectation, message?: string): unknown => {
    try {
      call();
    } catch (error) {
      return this.#thrown(error, expected, message);
    }
    return this.#check(false, 'nothing was thrown', message);
  };

  readonly throwsAsync = async (
    given: PromiseLike<unknown> | (() => PromiseLike<unknown>),
    expected?: ThrowsExpectation,
    message?: string,
  ): Promise<unknown> => {
    try {
      await (typeof given === 'function' ? given() : given);
    } catch (error) {
      return this.#thrown(error, expected, message);
    }
    return this.#check(false, 'nothing was thrown', message);
  };

  readonly notThrows = (call: () => unknown, message?: string): true => {
    try {
      call();
    } catch (error) {
      return this.#check(false, `thrown: ${inspect(error)}`, message);
    }
    return this.pass();
  };

  readonly notThrowsAsync = async (
    given: PromiseLike<unknown> | (() => PromiseLike<unknown>),
    message?: string,
  ): Promise<true> => {
    try {
      await (typeof given === 'function' ? given() : given);
    } catch (error) {
      return this.#check(false, `thrown: ${inspect(error)}`, message);
    }
    return this.pass();
  };

  readonly log = (...values: unknown[]): void => {
    this.logs.push(values.map((value) => (typeof value === 'string' ? value : inspect(value))).join(' '));
  };

  readonly teardown = (work: () => unknown): void => {
    this.teardowns.push(work);
  };

  readonly timeout = (milliseconds: number): void => {
    this.longest = Math.max(milliseconds, Number(process.env['SLUICE_TEST_LIMIT'] ?? 0));
  };

  #thrown(error: unknown, expected: ThrowsExpectation = {}, message?: string): unknown {
    const { code, instanceOf, is, message: text, name } = expected;
    const facts = error as { code?: unknown; message?: unknown; name?: unknown } | null | undefined;
    const wrong: string[] = [];
    const want = (holds: boolean, what: string): unknown => holds || wrong.push(what);
    want(expected.any === true || error instanceof Error, 'an Error');
    if ('is' in expected) want(Object.is(error, is), `the error ${inspect(is)}`);
    if (instanceOf !== undefined) want(error instanceof instanceOf, `an instance of ${instanceOf.name}`);
    if (name !== undefined) want(facts?.name === name, `the name ${name}`);
    if (code !== undefined) want(facts?.code === code, `the code ${code}`);
    if (text !== undefined) want(says(String(facts?.message), text), `the message ${inspect(text)}`);
    this.#check(wrong.length === 0, `expected ${wrong.join(' and ')}, thrown was ${inspect(error)}`, message);
    return error;
  }

  #check(holds: boolean, what: string, message?: string): true {
    this.assertions++;
    if (holds) return true;
    const error = new AssertionError(message === undefined ? what : `${message}: ${what}`);
    this.failure ??= error;
    throw error;
  }
}

const registered: Test[] = [];
const hooks: Test[] = [];

type Register = (title: string, implementation: Implementation) => void;

function register(serial: boolean, skipped: boolean, among = registered): Register {
  return (title, implementation) => {
    if ([...registered, ...hooks].some((other) => other.title === title))
      throw new Error(`Two tests are called ${inspect(title)}`);
    among.push({ title, implementation, serial, skipped });
  };
}

/** What test files import as `ava`. */
const test: Register & Record<'serial' | 'skip' | 'after', Register> = Object.assign(register(false, false), {
  serial: register(true, false),
  skip: register(false, true),
  after: register(true, false, hooks),
});

export default test;

/** The titles of the tests that were registered since the last call, none of which will run. */
export function takeTitles(): string[] {
  hooks.length = 0;
  return registered.splice(0).map(({ title }) => title);
}

/** Runs the registered tests except those to be skipped, and reports each one as soon as it ends. */
export async function runTests(
  skip: ReadonlySet<string>,
  planned: (titles: string[]) => void,
  ended: (result: Result) => void,
): Promise<void> {
  planned(registered.map(({ title }) => title));
  const one = async (entry: Test): Promise<void> => {
    if (entry.skipped || skip.has(entry.title)) {
      ended({ title: entry.title, skipped: true });
      return;
    }
    const error = await outcome(entry, true);
    ended(error === null ? { title: entry.title } : { title: entry.title, error });
  };
  for (const entry of registered) if (entry.serial) await one(entry);
  await Promise.all(registered.filter(({ serial }) => !serial).map(one));
  for (const hook of hooks) {
    const error = await outcome(hook, false);
    if (error !== null) ended({ title: hook.title, error });
  }
}

/** Null, or why the test or the hook failed; a test must contain an assertion. */
async function outcome({ title, implementation }: Test, asserts: boolean): Promise<string | null> {
  const t = new Context(title);
  const errors: unknown[] = [];
  const attempt = async (work: () => unknown): Promise<void> => {
    try {
      await inTime(t, work);
    } catch (error) {
      errors.push(error);
    }
  };
  await attempt(() => implementation(t));
  t.passed = errors.length === 0 && t.failure === null;
  for (const work of t.teardowns.reverse()) await attempt(work);
  if (t.failure !== null && !errors.includes(t.failure)) errors.unshift(t.failure);
  if (asserts && t.assertions === 0 && errors.length === 0)
    errors.push(new Error('The test ended without any assertion'));
  if (errors.length === 0) return null;
  return [...t.logs, ...errors.map((error) => (error instanceof Error ? picture(error) : inspect(error)))].join('\n');
}

/** The stack does not begin with the message in every runtime. */
function picture(error: Error): string {
  const stack = error.stack ?? '';
  return stack.includes(error.message) ? stack : `${error.name}: ${error.message}\n${stack}`;
}

async function inTime(t: Context, work: () => unknown): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const look = (waited: number): void => {
      // t.timeout() is called after the test has started.
      if (waited >= t.longest) reject(new Error(`The test did not end within ${t.longest} ms`));
      else timer = setTimeout(look, t.longest - waited, t.longest);
    };
    timer = setTimeout(look, t.longest, t.longest);
  });
  try {
    await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}

function matches(pattern: RegExp, text: string): boolean {
  return new RegExp(pattern.source, pattern.flags.replace('g', '')).test(text);
}

function says(message: string, expected: string | RegExp | ((message: string) => boolean)): boolean {
  if (typeof expected === 'string') return message === expected;
  return typeof expected === 'function' ? expected(message) : matches(expected, message);
}

/**
 * The parts of `actual` that the selector names: plain objects and arrays are compared recursively, everything else as
 * a whole.
 */
function selected(actual: unknown, selector: unknown): unknown {
  if (!isSelector(selector) || actual === null || typeof actual !== 'object') return actual;
  const result: Record<string, unknown> | unknown[] = Array.isArray(selector) ? [] : {};
  for (const [key, part] of Object.entries(selector)) {
    Reflect.set(result, key, selected(Reflect.get(actual, key), part));
  }
  return result;
}

function isSelector(value: unknown): value is object {
  if (value === null || typeof value !== 'object') return false;
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
}
