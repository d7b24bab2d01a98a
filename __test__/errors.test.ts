// What all error classes have in common.
// Runs once: nothing is read.
import test, { type ExecutionContext } from 'ava';
import {
  allAttemptsFailed,
  attemptFailed,
  ConnectionError,
  count,
  emptySeparator,
  IncompleteReadError,
  invalidType,
  LimitOverrunError,
  outOfRange,
  StateError,
  tooLarge,
} from '#ts/errors.js';

/** What all errors with a class of their own have in common. */
function isNamed(t: ExecutionContext, error: Error & { code: string }, name: string, code: string): void {
  t.true(error instanceof Error);
  t.is(error.name, name);
  t.is(error.constructor.name, name);
  t.is(error.code, code);
  t.is(String(error), `${name}: ${error.message}`);
  t.true(error.stack!.includes(error.message));
}

// --- Classes

test('IncompleteReadError names the call, and how many bytes were read', (t) => {
  const partial = Buffer.from('four');
  const exactly = new IncompleteReadError(partial, 10);
  isNamed(t, exactly, 'IncompleteReadError', 'ERR_INCOMPLETE_READ');
  t.is(exactly.partial, partial);
  t.is(exactly.expected, 10);
  t.is(exactly.message, 'readexactly(10): 4 bytes read before EOF');
  t.is(exactly.cause, undefined);

  const until = new IncompleteReadError(Buffer.from('x'), null);
  t.is(until.expected, null);
  t.is(until.message, 'readuntil: 1 byte read before EOF without the separator');

  t.is(new IncompleteReadError(Buffer.alloc(0), 1).message, 'readexactly(1): 0 bytes read before EOF');
  t.is(new IncompleteReadError(partial, 9, 'peek(9)').message, 'peek(9): 4 bytes read before EOF');
});

test('LimitOverrunError has the number of bytes that can be consumed', (t) => {
  const error = new LimitOverrunError('readuntil: the frame is longer than the limit of 16 bytes', 17);
  isNamed(t, error, 'LimitOverrunError', 'ERR_LIMIT_OVERRUN');
  t.is(error.consumed, 17);
  t.is(error.message, 'readuntil: the frame is longer than the limit of 16 bytes');
});

test('StateError has the given code', (t) => {
  const error = new StateError('ERR_CONCURRENT_READ', 'readline: readexactly is still waiting');
  isNamed(t, error, 'StateError', 'ERR_CONCURRENT_READ');
  t.is(error.message, 'readline: readexactly is still waiting');
});

test("ConnectionError has the system's code, and its error as the cause", (t) => {
  const cause = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
  const error = new ConnectionError('ECONNRESET', 'read: the connection was lost', { cause });
  isNamed(t, error, 'ConnectionError', 'ECONNRESET');
  t.is(error.cause, cause);
  t.false('cause' in new ConnectionError('EPIPE', 'write: the connection was lost'));
});

test('an error is an instance of its own class only', (t) => {
  const errors = [
    new IncompleteReadError(Buffer.alloc(0), 1),
    new LimitOverrunError('', 0),
    new StateError('ERR_SERVER_STATE', ''),
    new ConnectionError('EPIPE', ''),
  ];
  const classes = [IncompleteReadError, LimitOverrunError, StateError, ConnectionError];
  errors.forEach((error, i) =>
    t.deepEqual(
      classes.map((type) => error instanceof type),
      classes.map((_, j) => i === j),
    ),
  );
});

// --- Misuse

test('misuse is a built-in error with a code', (t) => {
  const type = invalidType('connect', 'port', 'an integer from 0 to 65535', 'x');
  t.is(type.constructor, TypeError);
  t.is(type.code, 'ERR_INVALID_ARG_TYPE');
  t.is(type.message, 'connect: port must be an integer from 0 to 65535, not "x"');

  const range = outOfRange('readexactly', 'n', 'an integer of 0 or more', -1);
  t.is(range.constructor, RangeError);
  t.is(range.code, 'ERR_OUT_OF_RANGE');
  t.is(range.message, 'readexactly: n must be an integer of 0 or more, not -1');

  const separator = emptySeparator('readuntil', 'the separator has no bytes');
  t.is(separator.constructor, RangeError);
  t.is(separator.code, 'ERR_SEPARATOR_EMPTY');
  t.is(separator.message, 'readuntil: the separator has no bytes');

  // As with the errors of Node, the code is an enumerable property.
  for (const error of [type, range, separator]) t.deepEqual(Object.keys(error), ['code']);
});

test('an allocation that fails is a RangeError with the size and the reason', (t) => {
  const cause = new RangeError('Array buffer allocation failed');
  const error = tooLarge('readexactly(8000000000)', 8e9, cause);
  t.is(error.constructor, RangeError);
  t.is(error.code, 'ERR_BUFFER_TOO_LARGE');
  t.is(error.message, 'readexactly(8000000000): cannot allocate 8000000000 bytes: Array buffer allocation failed');
  t.is(error.cause, cause);
  t.is(tooLarge('peek(1)', 1).message, 'peek(1): cannot allocate 1 byte');
});

test('a count of one is singular', (t) => {
  t.deepEqual(
    [0, 1, 2, -1, 1.5].map((n) => count(n, 'byte')),
    ['0 bytes', '1 byte', '2 bytes', '-1 bytes', '1.5 bytes'],
  );
});

// --- Any value in a message

class Widget {
  readonly size = 1;
}

function named(): void {}

const thrown = new Error('from a getter');
const hostile = (properties: Record<string, unknown>): object =>
  Object.defineProperties({}, Object.fromEntries(Object.keys(properties).map((name) => [name, { get: fails }])));
function fails(): never {
  throw thrown;
}

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

/** Every operation on it throws. */
const wall = (target: object): object => new Proxy(target, new Proxy({}, { get: () => fails }));

const shown: readonly (readonly [unknown, string])[] = [
  [undefined, 'undefined'],
  [null, 'null'],
  [true, 'true'],
  [-0, '0'],
  [NaN, 'NaN'],
  [-Infinity, '-Infinity'],
  [1e21, '1e+21'],
  [12n, '12n'],
  [10n ** 60n, `1${'0'.repeat(39)}...n`],
  ['', '""'],
  ['12', '"12"'],
  ['two\n"lines"', String.raw`"two\n\"lines\""`],
  ['\ud800', String.raw`"\ud800"`],
  ['x'.repeat(40), `"${'x'.repeat(40)}"`],
  ['x'.repeat(41), `"${'x'.repeat(40)}"...`],
  ['x'.repeat(1e6), `"${'x'.repeat(40)}"...`],
  [Symbol('mark'), 'Symbol(mark)'],
  [Symbol(), 'Symbol()'],
  [Symbol('x'.repeat(1000)), `Symbol(${'x'.repeat(33)}...`],
  [[], 'an array of 0'],
  [[1, [2], null], 'an array of 3'],
  [new Array(2 ** 32 - 1), 'an array of 4294967295'],
  [{}, 'an instance of Object'],
  [new Widget(), 'an instance of Widget'],
  [Buffer.from('x'), 'an instance of Buffer'],
  [new Map(), 'an instance of Map'],
  [Widget, 'function Widget'],
  [named, 'function named'],
  [Object.defineProperty(() => {}, 'name', { value: '' }), 'a function'],
  [Object.defineProperty(() => {}, 'name', { value: 'f'.repeat(1000) }), `function ${'f'.repeat(40)}...`],
  [Object.defineProperty(() => {}, 'name', { value: Symbol('x') }), 'a function'],
  [Object.defineProperty(() => {}, 'name', { get: fails }), 'a function'],
  [Object.create(null), 'an object'],
  [{ constructor: 'a string' }, 'an object'],
  [{ constructor: undefined }, 'an object'],
  [{ constructor: Object.defineProperty(() => {}, 'name', { value: Symbol('x') }) }, 'an object'],
  [{ constructor: Object.defineProperty(() => {}, 'name', { get: fails }) }, 'an object'],
  [hostile({ constructor: 0 }), 'an object'],
  [{ toString: fails, toJSON: fails, [Symbol.toPrimitive]: fails }, 'an instance of Object'],
  [revoked({}), 'an object'],
  [revoked([]), 'an object'],
  [revoked(() => {}), 'a function'],
  [wall({}), 'an object'],
  [wall(() => {}), 'a function'],
];

test('a message shows any value briefly, and never throws', (t) => {
  for (const [value, text] of shown) {
    t.is(invalidType('call', 'it', 'right', value).message, `call: it must be right, not ${text}`);
    t.is(outOfRange('call', 'it', 'right', value).message, `call: it must be right, not ${text}`);
  }
});

test('a reason can be any value', (t) => {
  const target = { address: '192.0.2.1', family: 4 } as const;
  for (const [value, text] of shown) {
    const error = attemptFailed(target, value);
    t.is(error.message, `192.0.2.1 UNKNOWN (${text})`);
    t.is(error.code, 'UNKNOWN');
    t.is(error.cause, value);
    if (value !== undefined) t.is(tooLarge('read', 2, value).message, `read: cannot allocate 2 bytes: ${text}`);
  }
});

test('a reason that is an error is shown by its message, if it has one', (t) => {
  const target = { address: '::1', family: 6 } as const;
  const messages = (error: Error): string[] => [
    attemptFailed(target, error).message,
    tooLarge('read', 2, error).message,
  ];
  t.deepEqual(messages(new Error('no luck')), ['::1 UNKNOWN (no luck)', 'read: cannot allocate 2 bytes: no luck']);
  const silent = Object.defineProperty(new Error(), 'message', { get: fails });
  t.deepEqual(messages(silent), [
    '::1 UNKNOWN (an instance of Error)',
    'read: cannot allocate 2 bytes: an instance of Error',
  ]);
  const odd = Object.assign(new Error(), { message: Symbol('odd'), code: 7 }) as unknown as Error;
  t.is(attemptFailed(target, odd).message, '::1 UNKNOWN (Symbol(odd))');
  const coded = Object.defineProperty(new Error('kept'), 'code', { get: fails });
  t.is(attemptFailed(target, coded).message, '::1 UNKNOWN (kept)');
});

// --- Several addresses

test('a failed attempt names its address, and keeps the reason', (t) => {
  const reason = Object.assign(new Error('connect ECONNREFUSED 192.0.2.1:80'), { code: 'ECONNREFUSED' });
  const error = attemptFailed({ address: '192.0.2.1', family: 4 }, reason);
  isNamed(t, error, 'ConnectionError', 'ECONNREFUSED');
  t.is(error.message, '192.0.2.1 ECONNREFUSED (connect ECONNREFUSED 192.0.2.1:80)');
  t.is(error.address, '192.0.2.1');
  t.is(error.family, 4);
  t.is(error.cause, reason);
  t.is(
    attemptFailed({ address: '::1', family: 6 }, reason, 'connect localhost:80').message,
    'connect localhost:80: ::1 ECONNREFUSED (connect ECONNREFUSED 192.0.2.1:80)',
  );
  for (const [address, host] of [
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '[::1]'],
  ] as const) {
    const refused = new ConnectionError('ECONNREFUSED', `connect ${host}:80: connection refused`);
    const target = { address, family: host === address ? 4 : 6 } as const;
    t.is(attemptFailed(target, refused).message, `${address} ECONNREFUSED (connection refused)`);
    t.is(
      attemptFailed(target, refused, 'connect localhost:80').message,
      `connect localhost:80: ${address} ECONNREFUSED (connection refused)`,
    );
    t.is(
      attemptFailed(target, refused, `connect ${host}:80`).message,
      `connect ${host}:80: ECONNREFUSED (connection refused)`,
    );
  }
  const bare = Object.assign(new Error(''), { code: 'ETIMEDOUT' });
  t.is(attemptFailed({ address: '::1', family: 6 }, bare).message, '::1 ETIMEDOUT');
});

test('if all attempts failed, one error lists each of them', (t) => {
  const failed = (address: string, family: 4 | 6, code: string): ReturnType<typeof attemptFailed> =>
    attemptFailed({ address, family }, Object.assign(new Error(''), { code }));
  const attempts = [failed('2001:db8::1', 6, 'ENETUNREACH'), failed('192.0.2.1', 4, 'ECONNREFUSED')] as const;
  const error = allAttemptsFailed('connect example.org:80', [...attempts]);
  t.is(error.constructor, AggregateError);
  t.is(error.code, 'ECONNREFUSED');
  t.is(error.message, 'connect example.org:80: all 2 attempts failed: 2001:db8::1 ENETUNREACH, 192.0.2.1 ECONNREFUSED');
  t.is(error.errors.length, 2);
  attempts.forEach((attempt, i) => t.is(error.errors[i], attempt));
});
