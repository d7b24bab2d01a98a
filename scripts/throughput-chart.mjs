/**
 * `node scripts/throughput-chart.mjs [RECORD.json]`: draws docs/throughput.svg, the bar chart in the README, from a benchmark record
 * that has all contenders. After a new record, pass its file here and update the caption in the README.
 */
import * as fs from 'node:fs';
import path from 'node:path';
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

const WIDTH = 860;
const LEFT = 230;
const RIGHT = 790;
const ROW = 24;

const STYLE = `
  svg { font: 13px system-ui, sans-serif }
  .paper { fill: #fff } text { fill: #1f2328 } .bar { fill: #b6bfc9 } .ours { fill: #2e86ab }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } text { fill: #f0f6fc } .bar { fill: #59636e }
  }`;

function draw({ cases }) {
  const groups = GROUPS.map(({ name, title, bars }) => {
    const found = cases.find((result) => result.name === name);
    const values = new Map([[found.oursName, found.ours]]);
    for (const contender of [...found.against, ...found.also]) values.set(contender.name, contender.value);
    const rows = Object.entries(bars).map(([contender, label]) => {
      const value = values.get(contender);
      if (typeof value !== 'number') throw new Error(`${name}: the record has no value for ${contender}`);
      return { label, value, ours: contender === found.oursName };
    });
    return { title, rows };
  });
  const largest = Math.max(...groups.flatMap(({ rows }) => rows.map(({ value }) => value)));
  const parts = [];
  let y = 36;
  const text = (x, words, more = '') => parts.push(`<text x="${x}" y="${y}"${more}>${escaped(words)}</text>`);
  text(
    20,
    'Million lines of 64 bytes per second over loopback (longer is better)',
    ' font-size="16" font-weight="600"',
  );
  for (const { title, rows } of groups) {
    y += 36;
    text(20, title, ' font-weight="600"');
    for (const { label, value, ours } of rows) {
      y += ROW;
      const width = Math.max(1, Math.round(((RIGHT - LEFT) * value) / largest));
      parts.push(`<rect class="bar${ours ? ' ours' : ''}" x="${LEFT}" y="${y - 13}" width="${width}" height="17"/>`);
      const weight = ours ? ' font-weight="600"' : '';
      text(LEFT - 10, label, ` text-anchor="end"${weight}`);
      text(LEFT + width + 8, value.toPrecision(3), weight);
    }
  }
  const height = y + 24;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" role="img">`,
    '<title>Million lines of 64 bytes per second, for sluice and its peers</title>',
    `<style>${STYLE}\n</style>`,
    `<rect class="paper" width="${WIDTH}" height="${height}"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function escaped(words) {
  return words.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

const [record = RECORD] = process.argv.slice(2);
fs.writeFileSync(CHART, draw(JSON.parse(fs.readFileSync(record, 'utf8'))));
