/** Bar charts as SVG files, for light and dark backgrounds. */
import * as fs from 'node:fs';

const WIDTH = 860;
const RIGHT = 790;
const ROW = 24;

const STYLE = `
  svg { font: 13px system-ui, sans-serif }
  .paper { fill: #fff } text { fill: #1f2328 } .bar { fill: #b6bfc9 } .ours { fill: #2e86ab } .mark { stroke: #1f2328; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } text { fill: #f0f6fc } .bar { fill: #59636e } .mark { stroke: #f0f6fc }
  }`;

/** The contenders of a case in a benchmark record, ours included, by their names: `value`, and the `ratio` of ours to it. */
export function contenders({ cases }, name) {
  const found = cases.find((result) => result.name === name);
  if (found === undefined) throw new Error(`The record has no case ${name}`);
  const ours = { name: found.oursName, value: found.ours, isOurs: true };
  return new Map([ours, ...found.against, ...found.also].map((contender) => [contender.name, contender]));
}

/**
 * Writes a chart. `groups` have a title and rows, a row has a label, a value, the text after its bar, and says whether it is ours. All bars
 * have the same scale, and begin at `left`. A dashed line is drawn at the value `mark`.
 */
export function writeBars(file, { title, heading, groups, left, mark }) {
  const largest = Math.max(...groups.flatMap(({ rows }) => rows.map(({ value }) => value)));
  const across = (value) => Math.round(((RIGHT - left) * value) / largest);
  const parts = [];
  let y = 36;
  const text = (x, words, more = '') => parts.push(`<text x="${x}" y="${y}"${more}>${escaped(words)}</text>`);
  text(20, heading, ' font-size="16" font-weight="600"');
  const top = y + 12;
  for (const group of groups) {
    y += 36;
    text(20, group.title, ' font-weight="600"');
    for (const { label, value, shown, ours } of group.rows) {
      y += ROW;
      const width = Math.max(1, across(value));
      parts.push(`<rect class="bar${ours ? ' ours' : ''}" x="${left}" y="${y - 13}" width="${width}" height="17"/>`);
      const weight = ours ? ' font-weight="600"' : '';
      text(left - 10, label, ` text-anchor="end"${weight}`);
      text(left + width + 8, shown, weight);
    }
  }
  if (mark !== undefined) {
    const x = left + across(mark);
    parts.push(`<line class="mark" x1="${x}" y1="${top}" x2="${x}" y2="${y + 8}"/>`);
  }
  const height = y + 24;
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="paper" width="${WIDTH}" height="${height}"/>`,
    ...parts,
    '</svg>\n',
  ];
  fs.writeFileSync(file, lines.join('\n'));
}

function escaped(words) {
  return words.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
