/**
 * The strict type-checked rules of typescript-eslint for all TypeScript, and the import arrows of the library as rules, so that a
 * forbidden import fails the build instead of depending on a reviewer.
 */
import tseslint from 'typescript-eslint';

const sockets = {
  regex: '^(node:)?(net|tls)$',
  allowTypeImports: true,
  message: 'Only connect/, server/, transports/ and tls/ use sockets.',
};
const binary = {
  regex: '^node-gyp-build$',
  message: 'Only native.ts loads the binary.',
};
const nodePrefix = {
  regex: String.raw`^(assert|async_hooks|buffer|child_process|crypto|dns|events|fs|http|module|net|os|path|process|stream|string_decoder|timers|tls|url|util|worker_threads|zlib)(/|$)`,
  message: "Name Node's modules with the prefix node:.",
};
/** The files next to `index.ts` that every folder except buffer/ may import. */
const COMMON = [
  'errors.js',
  'checks.js',
  'abort.js',
  'context.js',
  'diagnostics.js',
  'stopwatch.js',
  'system-errors.js',
  'system-calls.js',
];
/** The other files that a file may import, besides those of its own folder. */
const exactly = (message, ...allowed) => ({
  regex: String.raw`^(\.\./(?!(${allowed.join('|').replaceAll('.', '\\.')})($|(?<=/)))|#ts/|sluice$)`,
  message,
});
const only = (message, ...allowed) => exactly(message, ...COMMON, ...allowed);
const bufferArrows = exactly('The buffer knows only errors and checks.', 'errors.js', 'checks.js');
const readerArrows = only('The reader knows the buffer, errors, checks and abort.', 'keeper.js', 'buffer/');
const transportArrows = only(
  'A transport knows errors, checks, abort, system-errors, the clock and other transports.',
  'clock.js',
);
const tlsArrows = only('TLS knows transports, errors, checks, abort and system-errors.', 'transports/');
const writerArrows = only(
  'The writer knows the buffer, the transport interface, errors, checks and abort.',
  ...['keeper.js', 'slab.js', 'buffer/', 'transports/transport.js'],
);
const streamArrows = only(
  'The stream knows its two halves, transports and tls, not the code that creates streams.',
  ...['keeper.js', 'clock.js', 'deadlines.js', 'reader.js', 'frames.js', 'engine.js'],
  ...['reader/', 'buffer/', 'writer/', 'transports/', 'tls/'],
);
const connectArrows = only(
  'Connecting knows streams, transports and tls, not servers.',
  ...['reader.js', 'reader/', 'writer/', 'stream/', 'transports/', 'tls/'],
);
const serverArrows = only(
  'Servers know streams, transports, tls and the resolving of names.',
  ...[
    'clock.js',
    'reader.js',
    'reader/',
    'writer/',
    'stream/',
    'transports/',
    'tls/',
    'connect/resolve.js',
    'connect/unix-path.js',
  ],
);
const nothing = { regex: '.', message: 'errors.ts imports nothing, so that every file may import it.' };

const imports = (...patterns) => ({ '@typescript-eslint/no-restricted-imports': ['error', { patterns }] });

const noPrivateHandle = {
  selector: "MemberExpression[property.name='_handle'], MemberExpression[property.value='_handle']",
  message: 'Private Node internals are used in ts/transports/node-internals.ts only.',
};
const noBinary = {
  selector: "CallExpression[callee.property.name='dlopen'], Literal[value=/\\.node$/]",
  message: 'Only native.ts loads the binary.',
};

export default tseslint.config(
  // The client programs in scripts/install are compiled against the installed package, not against the sources.
  {
    ignores: [
      ...['node_modules/', 'dist/', 'out/', 'build/', 'target/', 'coverage/', 'docs/api/', 'crates/'],
      'scripts/install/client.*',
    ],
  },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },

  // All TypeScript
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: {
        project: ['', '.examples', '.benchmarks', '.test'].map((part) => `./tsconfig${part}.json`),
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      ...imports(nodePrefix),
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-var': 'error',
      'prefer-const': 'error',
      'object-shorthand': 'error',
      'no-console': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/promise-function-async': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // Callbacks such as `() => resolve()` and `() => socket.end()` are common.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // The public API checks at run time what the types already rule out, because JavaScript callers have no types.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/dot-notation': ['error', { allowIndexSignaturePropertyAccess: true }],
      // Hot paths do not check an index twice.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      // Each overload has its own documentation comment.
      '@typescript-eslint/unified-signatures': 'off',
      '@typescript-eslint/class-literal-property-style': 'off',
      // The reason of an AbortSignal is thrown unchanged, and it can be any value.
      '@typescript-eslint/prefer-promise-reject-errors': [
        'error',
        { allowThrowingAny: true, allowThrowingUnknown: true },
      ],
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingAny: true, allowThrowingUnknown: true }],
      '@typescript-eslint/no-empty-function': ['error', { allow: ['functions', 'arrowFunctions', 'methods'] }],
      // `||` treats an empty environment variable like one that is not set.
      '@typescript-eslint/prefer-nullish-coalescing': ['error', { ignorePrimitives: { string: true } }],
      '@typescript-eslint/prefer-readonly': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },

  // The library: who may import what
  {
    files: ['ts/**'],
    rules: {
      ...imports(nodePrefix, sockets, binary),
      'no-restricted-syntax': ['error', noPrivateHandle, noBinary],
    },
  },
  { files: ['ts/transports/**'], rules: imports(nodePrefix, binary, transportArrows) },
  { files: ['ts/tls/**'], rules: imports(nodePrefix, binary, tlsArrows) },
  { files: ['ts/connect/**'], rules: imports(nodePrefix, binary, connectArrows) },
  { files: ['ts/server/**'], rules: imports(nodePrefix, binary, serverArrows) },
  { files: ['ts/stream/**'], rules: imports(nodePrefix, sockets, binary, streamArrows) },
  { files: ['ts/writer/**'], rules: imports(nodePrefix, sockets, binary, writerArrows) },
  { files: ['ts/reader/**'], rules: imports(nodePrefix, sockets, binary, readerArrows) },
  { files: ['ts/buffer/**'], rules: imports(nodePrefix, sockets, binary, bufferArrows) },
  { files: ['ts/transports/node-internals.ts'], rules: { 'no-restricted-syntax': ['error', noBinary] } },
  {
    files: ['ts/buffer/native.ts'],
    rules: { ...imports(nodePrefix, sockets, bufferArrows), 'no-restricted-syntax': ['error', noPrivateHandle] },
  },
  { files: ['ts/errors.ts'], rules: imports(nothing) },

  // Tests
  {
    files: ['__test__/**'],
    rules: {
      // Many tests pass invalid input, and sans-IO doubles are async because the interface is.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/unbound-method': 'off',
      'no-restricted-syntax': [
        'error',
        {
          selector: "MemberExpression[object.name='test'][property.name=/^(only|skip|todo|failing)$/]",
          message: 'Every test runs. If the machine cannot run one, disable this rule for the line and say why.',
        },
        noPrivateHandle,
      ],
    },
  },

  // Programs
  { files: ['examples/**', 'benchmarks/**', 'scripts/**'], rules: { 'no-console': 'off' } },
  {
    files: ['**/*.{js,mjs}'],
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'object-shorthand': 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_', caughtErrors: 'all' }],
      'no-undef': 'off',
      'no-unreachable': 'error',
      'no-fallthrough': 'error',
    },
  },
);
