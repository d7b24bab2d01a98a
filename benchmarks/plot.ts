/**
 * Draws the throughput of a sweep as an SVG, without any dependency. Both axes are logarithmic, and the colours suit light and
 * dark backgrounds.
 */
import type { Plot } from './case.js';
import type { CaseResult } from './runner.js';

/** The values of one contender, in ascending order of `x`. */
export interface Line {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

/** The plots of the results, with their lines in the order in which the contenders first appear. */
export function plots(results: readonly CaseResult[]): { readonly plot: Plot; readonly lines: Line[] }[] {
  const found = new Map<Plot, Map<string, { x: number; y: number }[]>>();
  for (const { point, ours, oursName, against, also } of results) {
    if (point === undefined) continue;
    const { plot, x } = point;
    const lines = found.get(plot) ?? new Map<string, { x: number; y: number }[]>();
    found.set(plot, lines);
    for (const { name, value: y } of [{ name: oursName, value: ours }, ...against, ...also]) {
      // A logarithmic axis cannot show 0.
      if (y === null || !(y > 0)) continue;
      const points = lines.get(name) ?? [];
      points.push({ x, y });
      lines.set(name, points);
    }
  }
  return [...found].map(([plot, lines]) => ({
    plot,
    lines: [...lines].map(([name, points]) => ({ name, points: points.sort((a, b) => a.x - b.x) })),
  }));
}

const WIDTH = 1080;
const HEIGHT = 620;
const AREA = { left: 70, top: 56, right: 680, bottom: 560 };

/** Colours of medium lightness, which can be distinguished from white, from black, and from their neighbours. */
const COLOURS = ['#d1495b', '#2e86ab', '#5a9e3d', '#e08a1e', '#8f5fc9', '#1fa39a', '#c75ba8', '#8a7440', '#6b7fd7'];

const STYLE = `
  svg { font: 13px system-ui, sans-serif }
  .paper { fill: #fff } text { fill: #1f2328 }
  .grid { stroke: #d1d9e0 } .line { fill: none; stroke-width: 2 } .ours { stroke-width: 3.5 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } text { fill: #f0f6fc } .grid { stroke: #3d444d }
  }`;

/** The SVG. The points of a contender are marked, and its line is labelled on the right, with the fastest at the top. */
export function draw({ title, x: xTitle, y: yTitle }: Plot, lines: readonly Line[]): string {
  const points = lines.flatMap((line) => line.points);
  const xs = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const yTicks = ticks(points.map(({ y }) => y));
  const across = scale(xs, AREA.left, AREA.right);
  const up = scale(yTicks, AREA.bottom, AREA.top);

  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="paper" width="${WIDTH}" height="${HEIGHT}"/>`,
    `<text x="${AREA.left}" y="30" font-size="17" font-weight="600">${escaped(title)}</text>`,
  ];
  for (const x of xs) {
    parts.push(
      `<path class="grid" d="M${across(x)} ${AREA.top}V${AREA.bottom}"/>`,
      text(across(x), AREA.bottom + 18, short(x), 'middle'),
    );
  }
  for (const y of yTicks) {
    parts.push(
      `<path class="grid" d="M${AREA.left} ${up(y)}H${AREA.right}"/>`,
      text(AREA.left - 8, up(y) + 4, String(y), 'end'),
    );
  }
  parts.push(
    text((AREA.left + AREA.right) / 2, AREA.bottom + 42, xTitle, 'middle'),
    text(AREA.left - 8, AREA.top - 12, yTitle, 'end'),
  );

  const looks = lookOf(lines);
  for (const line of lines) {
    const { colour, dash, ours, mark } = looks(line);
    const path = line.points.map(({ x, y }) => `${across(x)} ${up(y)}`).join('L');
    parts.push(`<g stroke="${colour}"><title>${escaped(line.name)}</title>`);
    parts.push(`<path class="line${ours ? ' ours' : ''}"${dash} d="M${path}"/>`);
    parts.push(...line.points.map(({ x, y }) => mark(across(x), up(y))), '</g>');
  }
  [...lines].sort(byLastValue).forEach((line, i) => {
    const { colour, dash, ours, mark } = looks(line);
    const y = AREA.top + 8 + i * 24;
    const from = AREA.right + 24;
    parts.push(
      `<g stroke="${colour}"><path class="line${ours ? ' ours' : ''}"${dash} d="M${from} ${y}h36"/>${mark(from + 18, y)}</g>`,
      text(from + 46, y + 4, line.name, 'start', ours ? ' font-weight="600"' : ''),
    );
  });
  return `${parts.join('\n')}\n</svg>\n`;
}

interface Look {
  readonly colour: string;
  readonly dash: string;
  readonly ours: boolean;
  readonly mark: (x: number, y: number) => string;
}

/**
 * The lines of sluice are thick; on the other engine they are dashed, in the same colour. If colours repeat, the marks differ.
 */
function lookOf(lines: readonly Line[]): (line: Line) => Look {
  const main = lines.filter(({ name }) => !name.endsWith(OTHER_ENGINE));
  return ({ name }) => {
    const other = name.endsWith(OTHER_ENGINE);
    const base = other ? name.slice(0, -OTHER_ENGINE.length) : name;
    const i = Math.max(
      0,
      main.findIndex((line) => line.name === base),
    );
    const colour = COLOURS[i % COLOURS.length] as string;
    return {
      colour,
      ours: name.startsWith('sluice') && !other,
      dash: other ? ' stroke-dasharray="7 4"' : name.startsWith('sender') ? ' stroke-dasharray="2 4"' : '',
      mark: MARKS[Math.floor(i / COLOURS.length) % MARKS.length]!(colour),
    };
  };
}

const OTHER_ENGINE = ', TypeScript engine';

const MARKS: ((colour: string) => (x: number, y: number) => string)[] = [
  (colour) => (x, y) => `<circle cx="${x}" cy="${y}" r="3" fill="${colour}"/>`,
  (colour) => (x, y) => `<path d="M${x - 4} ${y - 4}h8v8h-8z" fill="${colour}"/>`,
  (colour) => (x, y) => `<path d="M${x - 4} ${y + 4}h8l-4 -8z" fill="${colour}"/>`,
];

function byLastValue(a: Line, b: Line): number {
  return (b.points.at(-1)?.y ?? 0) - (a.points.at(-1)?.y ?? 0);
}

/**
 * 1, 2 and 5 times the powers of ten, from the largest that is not above the smallest value to the smallest that is not below the
 * largest value.
 */
function ticks(values: readonly number[]): number[] {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(least)); found.length === 0 || (found.at(-1) as number) < most; power++) {
    for (const digit of [1, 2, 5]) {
      const tick = Number(`${digit}e${power}`);
      if (found.length === 1 && tick <= least) found.pop();
      if (found.length === 0 || (found.at(-1) as number) < most) found.push(tick);
    }
  }
  return found;
}

/** A logarithmic scale, with one decimal: maps the range of `values` to the range between `from` and `to`. */
function scale(values: readonly number[], from: number, to: number): (value: number) => number {
  const low = Math.log(Math.min(...values));
  const range = Math.log(Math.max(...values)) - low;
  return (value) => {
    const part = range === 0 ? 0.5 : (Math.log(value) - low) / range;
    return Math.round((from + part * (to - from)) * 10) / 10;
  };
}

/** 512, 1K, 64K; and 1000 as it is. */
function short(value: number): string {
  return value >= 1024 && value % 1024 === 0 ? `${value / 1024}K` : String(value);
}

function text(x: number, y: number, words: string, anchor: string, more = ''): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}"${more}>${escaped(words)}</text>`;
}

function escaped(words: string): string {
  return words.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
