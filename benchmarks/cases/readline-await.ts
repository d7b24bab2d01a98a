import { type Case, otherEngine, Receivers } from '../case.js';
import { go, node, python, rust, sluice } from '../toolchain.js';
import { lines } from '../workload.js';

const LINE_BYTES = 64;

export const readlineAwait: Case = {
  name: 'readline-await',
  title: '64-byte lines over loopback, awaited one at a time',
  unit: 'Ml/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const { entry, sender } = new Receivers(
      {
        block: lines(settings.quick ? 64 * 1024 : 1024 * 1024, LINE_BYTES),
        // Six million lines, because V8 is still compiling while the first million is read.
        repeats: settings.quick ? 16 : 384,
        verifyRepeats: 3,
        value: ({ frames }, { seconds }) => frames / seconds / 1e6,
      },
      settings,
    );
    return {
      ours: entry('sluice', sluice('sluice-readline', settings.engine)),
      against: [
        { ...entry('hand-written await reader', node('hand-await')), bound: { atLeast: 2.2 } },
        { ...entry('CPython asyncio', python('asyncio_readline.py')), bound: { atLeast: 6 } },
      ],
      also: [
        ...otherEngine(settings, entry, 'sluice-readline'),
        entry('sluice, for await', sluice('sluice-for-await', settings.engine)),
        entry('hand-written, with every care', node('hand-await-careful')),
        entry('hand-written line splitter', node('hand-await-splitting')),
        entry("node:readline, 'line' event", node('node-readline')),
        entry('node:readline, for await', node('node-readline-for-await')),
        entry('split2', node('split2', { needs: 'split2' })),
        entry('it-byte-stream, read of 64 bytes', node('it-byte-stream', { needs: 'it-byte-stream' }), [LINE_BYTES, 1]),
        entry('CPython asyncio with uvloop', python('asyncio_readline.py', { uvloop: true })),
        entry('Rust, tokio read_until', rust('tokio-lines'), [1, 'bytes']),
        entry('Go, bufio ReadBytes', go('readbytes'), [1]),
      ],
      sender: sender(),
    };
  },
};
