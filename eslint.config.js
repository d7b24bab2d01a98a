/**
 * Lint: the strict type-checked rules of typescript-eslint for all TypeScript, and the import arrows of the library as rules,
 * so that a file that reaches where it should not fails the build and not the review.
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
/** What every folder may import of the files next to `index.ts`. */
const COMMON = ['errors.js', 'checks.js', 'abort.js', 'system-errors.js', 'system-calls.js'];
/** What a file may import besides the files of its own folder. */
const only = (message, ...allowed) => ({
  regex: String.raw`^(\.\./(?!(${[...COMMON, ...allowed].join('|').replaceAll('.', '\\.')})($|(?<=/)))|#ts/|sluice$)`,
  message,
});
const transportArrows = only('A transport knows errors, checks, abort, system-errors and other transports.');
const tlsArrows = only('TLS knows transports, errors, checks, abort and system-errors.', 'transports/');
const writerArrows = only(
  'The writer knows the buffer, the transport interface, errors, checks and abort.',
  ...['keeper.js', 'slab.js', 'buffer/', 'transports/transport.js'],
);
const streamArrows = only(
  'The stream knows its halves, transports and tls; not who makes streams.',
  ...['keeper.js', 'reader.js', 'frames.js', 'engine.js', 'reader/', 'buffer/', 'writer/', 'transports/', 'tls/'],
);
const connectArrows = only(
  'Connecting knows streams, transports and tls; not servers.',
  ...['reader.js', 'reader/', 'writer/', 'stream/', 'transports/', 'tls/'],
);
const serverArrows = only(
  'Servers know streams, transports, tls and the resolving of names.',
  ...[
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
  // The programs in scripts/install are those of a user, and are compiled against the installed package.
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
      // Numbers are what messages are made of.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // `() => resolve()` and `() => socket.end()` are how callbacks are written.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // What the types rule out is checked at the public boundary all the same: callers in JavaScript do not have them.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/dot-notation': ['error', { allowIndexSignaturePropertyAccess: true }],
      // An index that was just checked needs no second check at the price of one in the hot path.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      // Overloads carry a documentation comment each.
      '@typescript-eslint/unified-signatures': 'off',
      '@typescript-eslint/class-literal-property-style': 'off',
      // The reason of an AbortSignal is passed on as it is, whatever it is.
      '@typescript-eslint/prefer-promise-reject-errors': [
        'error',
        { allowThrowingAny: true, allowThrowingUnknown: true },
      ],
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingAny: true, allowThrowingUnknown: true }],
      '@typescript-eslint/no-empty-function': ['error', { allow: ['functions', 'arrowFunctions', 'methods'] }],
      // An empty string from the environment counts as none.
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
  { files: ['ts/transports/node-internals.ts'], rules: { 'no-restricted-syntax': ['error', noBinary] } },
  {
    files: ['ts/buffer/native.ts'],
    rules: { ...imports(nodePrefix, sockets), 'no-restricted-syntax': ['error', noPrivateHandle] },
  },
  { files: ['ts/errors.ts'], rules: imports(nothing) },

  // Tests
  {
    files: ['__test__/**'],
    rules: {
      // Bad input is what many tests are about, and sans-IO doubles are async to fit an interface.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/unbound-method': 'off',
      'no-restricted-syntax': [
        'error',
        {
          selector: "MemberExpression[object.name='test'][property.name=/^(only|skip|todo|failing)$/]",
          message: 'Every test runs. Where the machine decides, disable this rule for the line and say why.',
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
