/** The table of asyncio's test cases: every test that it names exists. */
// Runs once: it reads the documents and the tests.
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import ts from 'typescript';
import { root } from './program.js';

/**
 * The functions that define tests: `test('title', ...)`, `test.serial`, and functions of test files that extend a
 * title.
 */
const DEFINING = new Set(['test', 'run', 'onBothSides', 'crosswise', 'onLinux']);

/** Whether it is `test`, `test.serial`, or a conditional choice of such functions. */
function defines(callee: ts.Expression): boolean {
  if (ts.isParenthesizedExpression(callee) || ts.isPropertyAccessExpression(callee)) return defines(callee.expression);
  if (ts.isConditionalExpression(callee)) return defines(callee.whenTrue) || defines(callee.whenFalse);
  return ts.isIdentifier(callee) && DEFINING.has(callee.text);
}

/** The titles of the tests that a file defines, with `*` for computed parts. */
async function titlesOf(file: string): Promise<Set<string>> {
  const text = await readFile(file, 'utf8');
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022);
  const titles = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node)) {
      const [title] = node.arguments;
      if (defines(node.expression) && title !== undefined) {
        if (ts.isStringLiteralLike(title)) titles.add(title.text);
        if (ts.isTemplateExpression(title)) {
          titles.add(title.head.text + title.templateSpans.map(({ literal }) => `*${literal.text}`).join(''));
        }
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return titles;
}

interface Row {
  readonly name: string;
  readonly answer: string;
}

async function rows(): Promise<Row[]> {
  const text = await readFile(path.join(root, 'docs', 'asyncio-test-cases.md'), 'utf8');
  return Array.from(text.matchAll(/^\| `(test\w+)` +\| (.*?) +\|$/gm), ([, name, answer]) => ({
    name: name!,
    answer: answer!,
  }));
}

/** `` `file`: title ``, several of them separated by line breaks; anything else is a reason. */
const NAMED = /^`([\w.-]+\.ts)`: (.+)$/;

/** `"title" in file`, the form in which a reason mentions a test. */
const MENTIONED = /"([^"]+)" in `?([\w.-]+\.ts)/g;

interface Reference {
  readonly file: string;
  readonly title: string;
}

/** The tests that an answer names, as the answer itself or within a reason. */
function references(answer: string): Reference[] {
  const found: Reference[] = [];
  for (const entry of answer.split('<br>')) {
    const [, file, title] = NAMED.exec(entry.trim()) ?? [];
    if (file !== undefined && title !== undefined) found.push({ file, title });
    else for (const [, quoted, where] of entry.matchAll(MENTIONED)) found.push({ file: where!, title: quoted! });
  }
  return found;
}

test('every test that the table names exists', async (t) => {
  const tests = path.join(root, '__test__');
  const found = await readdir(tests, { recursive: true });
  const files = new Map(found.map((file) => [path.basename(file), path.join(tests, file)]));
  const titles = new Map<string, Set<string>>();
  const missing: string[] = [];
  let named = 0;
  for (const { name, answer } of await rows()) {
    for (const { file, title } of references(answer)) {
      named++;
      if (!titles.has(file)) titles.set(file, files.has(file) ? await titlesOf(files.get(file)!) : new Set());
      if (!titles.get(file)!.has(title.replaceAll('\\*', '*'))) missing.push(`${name}: ${file}: ${title}`);
    }
  }
  t.deepEqual(missing, []);
  t.true(named > 150);
});

test('every case has a test or a reason', async (t) => {
  const all = await rows();
  t.true(all.length > 200);
  for (const { name, answer } of all) {
    t.true(answer.length > 0, `${name} has no answer`);
    const entries = answer.split('<br>').map((entry) => entry.trim());
    const tests = entries.filter((entry) => NAMED.test(entry));
    if (tests.length === 0) t.regex(answer, /^\w+.*: .{20,}/, `${name}: ${answer}`);
    else t.is(tests.length, entries.length, `${name}: ${answer}`);
  }
});
