/** The programs of the guide "Testing a protocol". */
// Runs once: they are programs over the public API, which has tests of its own for each engine.
import { Guide } from '../documents.js';

const testing = new Guide('docs/testing-a-protocol.md');

testing.test(['split-test.ts', 'store.ts'], 'a parser is tested at every split', async (t, work) => {
  t.is(await work.run('split-test.ts'), '1815 splits\n');
});

testing.test(['handler-test.ts', 'store.ts'], 'a handler is tested at every split', async (t, work) => {
  t.is(await work.run('handler-test.ts'), 'ok\n');
});

testing.test(['peers-test.ts', 'store.ts'], 'a client is tested against difficult peers', async (t, work) => {
  t.is(await work.run('peers-test.ts'), 'ok\n');
});

testing.test(['timeout-test.ts', 'store.ts'], 'timeouts are tested without waiting', async (t, work) => {
  t.is(await work.run('timeout-test.ts'), 'ok\n');
});

testing.testWhole();
