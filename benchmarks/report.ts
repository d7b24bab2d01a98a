/** Formats results as text, as a JSON object for programs, and as the page of a record. */
import { type Bound, type Remark, spread, type Verdict } from './judge.js';
import type { Machine } from './machine.js';
import type { CaseResult } from './runner.js';

/** The results of a run. */
export interface Results {
  readonly machine: Machine;
  readonly rounds: number;
  readonly cases: readonly CaseResult[];
}

/** The object that `--json` prints. Results for information are only in the tables and in the records. */
export function summary({ machine, cases }: Results): object {
  return {
    machine,
    cases: cases.map(({ name, unit, ours, against }) => ({
      name,
      unit,
      ours: rounded(ours),
      against: against.map((row) => ({ ...row, value: rounded(row.value), ratio: rounded(row.ratio) })),
    })),
  };
}

/** The contenders that did not run, one line each, with the reason. */
export function missing({ cases }: Results): string[] {
  const absent = cases.flatMap(({ name, against, also }) =>
    [...against, ...also]
      .filter((remark) => remark.missing !== undefined)
      .map((remark) => `${name}: ${remark.name}, ${remark.missing}`),
  );
  return [...new Set(absent)];
}

function rounded(value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(6));
}

/** Three significant digits, without an exponent. */
function figure(value: number | null): string {
  if (value === null) return '-';
  return value >= 1000 ? value.toFixed(0) : value.toPrecision(3);
}

function boundText(bound: Bound): string {
  return 'atLeast' in bound ? `at least ${bound.atLeast}` : `at most ${bound.atMost}`;
}

function judgement({ holds, missing, atLeast, atMost }: Verdict): string {
  const bound = boundText(atLeast !== undefined ? { atLeast } : { atMost: atMost as number });
  if (missing !== undefined) return `${bound}: missing, ${missing}`;
  if (holds === null) return `${bound}: not judged`;
  return `${bound}: ${holds ? 'holds' : 'DOES NOT HOLD'}`;
}

/** The rows of a case: contender, value, spread, ratio, judgement. */
function rows(result: CaseResult): string[][] {
  const spreadOf = (name: string): string => {
    const values = result.samples[name];
    return values === undefined || values.length < 2 ? '' : `±${((spread(values) / 2) * 100).toFixed(0)}%`;
  };
  const row = ({ name, value, ratio }: Remark, remark: string): string[] => [
    name,
    figure(value),
    spreadOf(name),
    ratio === null ? '-' : `${figure(ratio)} x`,
    remark,
  ];
  return [
    row({ name: result.oursName, value: result.ours, ratio: null }, ''),
    ...result.against.map((verdict) => row(verdict, judgement(verdict))),
    ...result.also.map((remark) => row(remark, remark.missing === undefined ? '' : `missing, ${remark.missing}`)),
  ];
}

function header(result: CaseResult): string[] {
  return ['contender', result.unit, 'spread', result.ratioOf, 'judgement'];
}

function aligned(table: readonly string[][]): string {
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((cells) => (cells[column] ?? '').length)));
  const isNumber = (column: number): boolean => column > 0 && column < 4;
  return table
    .map((cells) =>
      cells
        .map((cell, column) =>
          isNumber(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Notes about anything outside the contenders that limits a case. */
export function warnings({ also, samples, oursName }: CaseResult): string[] {
  const sender = also.find((remark) => remark.name.startsWith('sender'));
  if (sender === undefined || sender.value === null) return [];
  const limit = sender.value;
  const fastest = Math.max(
    ...Object.entries(samples)
      .filter(([name]) => name !== sender.name)
      .map(([, values]) => Math.max(...values)),
  );
  return fastest < limit / 1.25
    ? []
    : [`the sender is less than 1.25 times as fast as the fastest contender, and may limit ${oursName}`];
}

/** One case as a table for the terminal. */
export function table(result: CaseResult): string {
  return [
    `${result.name}: ${result.title}`,
    aligned([header(result), ...rows(result)]),
    ...warnings(result).map((warning) => `note: ${warning}`),
  ].join('\n');
}

/** A record as a Markdown page. */
export function page(
  { machine, rounds, cases }: Results,
  command: string,
  pictures: readonly { readonly title: string; readonly file: string }[] = [],
): string {
  const { versions, ...facts } = machine;
  const lines = [
    `# ${machine.date.slice(0, 10)}`,
    '',
    `\`${command}\`: medians of ${rounds} rounds.`,
    '',
    '| | |',
    '| --- | --- |',
    ...Object.entries({ ...facts, ...versions }).map(([name, value]) => `| ${name} | ${value} |`),
  ];
  for (const { title, file } of pictures) lines.push('', `![${title}](${file})`);
  for (const result of cases) {
    lines.push('', `## ${result.name}`, '', `${capitalized(result.title)}.`, '');
    lines.push(`| ${header(result).join(' | ')} |`, '| --- | ---: | ---: | ---: | --- |');
    lines.push(...rows(result).map((cells) => `| ${cells.join(' | ')} |`));
    lines.push(...warnings(result).map((warning) => `\nNote: ${warning}.`));
  }
  return `${lines.join('\n')}\n`;
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
