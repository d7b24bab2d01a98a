import { type Case, otherEngine, Receivers } from '../case.js';
import { node, python, sluice } from '../toolchain.js';
import { lines } from '../workload.js';

const LINE_BYTES = 64;

export const readlineAwait: Case = {
  name: 'readline-await',
  title: '64-byte lines over loopback, awaited one at a time',
  unit: 'Ml/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const receivers = new Receivers(
      {
        block: lines(settings.quick ? 64 * 1024 : 1024 * 1024, LINE_BYTES),
        // Six million lines: the first million of them is read before the compilers of V8 are done.
        repeats: settings.quick ? 16 : 384,
        verifyRepeats: 3,
        value: ({ frames }, seconds) => frames / seconds / 1e6,
      },
      settings,
    );
    const entry = receivers.entry.bind(receivers);
    return {
      ours: entry('sluice', sluice('sluice-readline', settings.engine)),
      against: [
        { ...entry('hand-written await reader', node('hand-await')), bound: { atLeast: 2 } },
        { ...entry('CPython asyncio', python('asyncio_readline.py')), bound: { atLeast: 5 } },
      ],
      also: [
        ...otherEngine(settings, entry, 'sluice-readline'),
        entry('sluice, for await', sluice('sluice-for-await', settings.engine)),
        entry('hand-written, with every care', node('hand-await-careful')),
        entry('hand-written line splitter', node('hand-await-splitting')),
        entry("node:readline, 'line' event", node('node-readline')),
        entry('node:readline, for await', node('node-readline-for-await')),
        entry('split2', node('split2', { needs: 'split2' })),
        entry('CPython asyncio with uvloop', python('asyncio_readline.py', { uvloop: true })),
      ],
      sender: receivers.sender(),
    };
  },
};
