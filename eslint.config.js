/**
 * Lint: the strict type-checked rules of typescript-eslint for all TypeScript, and the import arrows of the library as rules,
 * so that a file that reaches where it should not fails the build and not the review.
 */
import tseslint from 'typescript-eslint';

/** Files of the library that may touch sockets. */
const socketFiles = ['ts/connect.ts', 'ts/server.ts', 'ts/transports/**'];

const sockets = {
  regex: '^(node:)?(net|tls)$',
  allowTypeImports: true,
  message: 'Only connect.ts, server.ts and transports/ use sockets.',
};
const binary = {
  regex: '^node-gyp-build$',
  message: 'Only native.ts loads the binary.',
};
const nodePrefix = {
  regex: String.raw`^(assert|async_hooks|buffer|child_process|crypto|dns|events|fs|http|module|net|os|path|process|stream|string_decoder|timers|tls|url|util|worker_threads|zlib)(/|$)`,
  message: "Name Node's modules with the prefix node:.",
};
const onlyTransportAndErrors = {
  regex: String.raw`^(\.\./(?!(errors|checks|abort|system-errors)\.js$)|#ts/|sluice$)`,
  message: 'A transport knows the transport interface, errors, checks, abort, system-errors and other transports.',
};
const nothing = { regex: '.', message: 'errors.ts imports nothing, so that every file may import it.' };

const imports = (...patterns) => ({ '@typescript-eslint/no-restricted-imports': ['error', { patterns }] });

const noPrivateHandle = {
  selector: "MemberExpression[property.name='_handle'], MemberExpression[property.value='_handle']",
  message: 'Private Node internals are used in ts/transports/accepted.ts only.',
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
  { files: socketFiles, rules: imports(nodePrefix, binary) },
  { files: ['ts/transports/**'], rules: imports(nodePrefix, binary, onlyTransportAndErrors) },
  { files: ['ts/transports/accepted.ts'], rules: { 'no-restricted-syntax': ['error', noBinary] } },
  {
    files: ['ts/native.ts'],
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
