/**
 * `node scripts/throughput-chart.mjs [RECORD.json]`: draws docs/throughput.svg, the bar chart in the README, from a benchmark record
 * that has all contenders. After a new record, pass its file here and update the caption in the README.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { contenders, writeBars } from './bars.mjs';
import { root } from './setup.mjs';

const RECORD = path.join(root, 'benchmarks/records/2026-11-23-node-20.20.2-4.json');
const CHART = path.join(root, 'docs/throughput.svg');

/** The bars: what the record calls each contender, and its label in the chart. */
const GROUPS = [
  {
    name: 'readline-await',
    title: 'Lines awaited one at a time',
    bars: {
      sluice: 'sluice: await readline()',
      'hand-written await reader': 'hand-written await reader',
      'node:readline, for await': 'node:readline, for await',
      'CPython asyncio': 'CPython 3.13 asyncio',
      'Go, bufio ReadBytes': 'Go: bufio ReadBytes',
      'Rust, tokio read_until': 'Rust: tokio read_until',
    },
  },
  {
    name: 'lines-batches',
    title: 'Lines as strings',
    bars: {
      sluice: 'sluice: lines().batches()',
      "node:readline, 'line' event": "node:readline, 'line' event",
      split2: 'split2',
      'Go, bufio Scanner, strings': 'Go: bufio Scanner',
      'Rust, tokio lines': 'Rust: tokio lines',
    },
  },
  {
    name: 'frames',
    title: 'Lines parsed in place',
    bars: {
      sluice: 'sluice: readframes()',
      "hand-written, indexOf on 'data'": "hand-written indexOf on 'data'",
      'Go, bufio Scanner': 'Go: bufio Scanner',
      'Rust, read and memchr': 'Rust: read and memchr',
    },
  },
];

const [record = RECORD] = process.argv.slice(2);
const results = JSON.parse(fs.readFileSync(record, 'utf8'));
writeBars(CHART, {
  title: 'Million lines of 64 bytes per second, for sluice and its peers',
  heading: 'Million lines of 64 bytes per second over loopback (longer is better)',
  left: 230,
  groups: GROUPS.map(({ name, title, bars }) => {
    const found = contenders(results, name);
    const rows = Object.entries(bars).map(([contender, label]) => {
      const { value, isOurs } = found.get(contender) ?? {};
      if (typeof value !== 'number') throw new Error(`${name}: the record has no value for ${contender}`);
      return { label, value, shown: value.toPrecision(3), ours: isOurs };
    });
    return { title, rows };
  }),
});
