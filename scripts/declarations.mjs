/**
 * Prepares the declarations for publishing. The compiler's `stripInternal` removes what is marked `@internal`, but leaves
 * references to it: classes that claim to implement interfaces whose methods are removed, imports and exports of removed names,
 * and unused imports. This script removes those too, so that the result compiles on its own.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

/**
 * Trims the declarations in `folder`, and deletes the files that none of `entries` then reaches.
 *
 * @returns the files that remain
 */
export function trimDeclarations(folder, entries) {
  const all = fs.readdirSync(folder, { recursive: true }).map((name) => path.join(folder, name));
  const declarations = all.filter((file) => file.endsWith('.d.ts'));
  for (const file of declarations) fs.writeFileSync(file, trimmed(file));
  const needed = reachable(entries.map((entry) => path.join(folder, entry)));
  for (const file of declarations) if (!needed.has(file)) fs.rmSync(file);
  return [...needed];
}

/** The declarations that some of them reach through relative imports, including themselves. */
function reachable(starts) {
  const found = new Set(starts);
  for (const file of found) {
    for (const [, target] of fs.readFileSync(file, 'utf8').matchAll(/['"](\.{1,2}\/[^'"]+)\.js['"]/g)) {
      found.add(path.join(path.dirname(file), `${target}.d.ts`));
    }
  }
  return found;
}

function trimmed(file) {
  const read = (text) => parse(file, text);
  let source = read(fs.readFileSync(file, 'utf8'));
  source = read(
    edited(
      source,
      source.statements.flatMap((statement) => claims(source, statement)),
    ),
  );
  const gone = namesThatAreGone(source, file);
  source = read(
    edited(
      source,
      source.statements.flatMap((statement) => exportsWithout(statement, gone)),
    ),
  );
  const used = usedNames(source);
  return edited(
    source,
    source.statements.flatMap((statement) => importsOf(statement, (name) => used.has(name) && !gone.has(name))),
  );
}

/** The names that a file imports from another file of the package which no longer declares or exports them. */
function namesThatAreGone(source, file) {
  const gone = new Set();
  for (const statement of source.statements) {
    const from = ts.isImportDeclaration(statement) ? statement.moduleSpecifier.text : '';
    if (!from.startsWith('.')) continue;
    const target = path.join(path.dirname(file), from.replace(/\.js$/, '.d.ts'));
    const there = usedNames(parse(target, fs.readFileSync(target, 'utf8')));
    for (const name of importedNames(statement)) if (!there.has(name)) gone.add(name);
  }
  return gone;
}

function exportsWithout(statement, gone) {
  if (!ts.isExportDeclaration(statement) || statement.moduleSpecifier !== undefined) return [];
  return listWithout(statement, statement.exportClause, (name) => !gone.has(name));
}

/**
 * The parts to remove: `implements` clauses with interfaces that are not global. Users do not need them, because they see the
 * class.
 */
function claims(source, statement) {
  if (!ts.isClassDeclaration(statement)) return [];
  const imported = new Set(source.statements.flatMap(importedNames));
  const own = new Set(source.statements.filter(ts.isInterfaceDeclaration).map(({ name }) => name.text));
  const clause = statement.heritageClauses?.find(({ token }) => token === ts.SyntaxKind.ImplementsKeyword);
  if (clause === undefined) return [];
  const kept = clause.types.filter(({ expression }) => !imported.has(expression.text) && !own.has(expression.text));
  const text = kept.length === 0 ? '' : ` implements ${kept.map((type) => type.getText(source)).join(', ')}`;
  return [{ start: clause.pos, end: clause.end, text }];
}

function importedNames(statement) {
  if (!ts.isImportDeclaration(statement)) return [];
  const bindings = statement.importClause?.namedBindings;
  return bindings !== undefined && ts.isNamedImports(bindings) ? bindings.elements.map(({ name }) => name.text) : [];
}

/** Every name that a file uses outside its imports. */
function usedNames(source) {
  const names = new Set();
  const visit = (node) => {
    if (ts.isIdentifier(node)) names.add(node.text);
    ts.forEachChild(node, visit);
  };
  for (const statement of source.statements) if (!ts.isImportDeclaration(statement)) visit(statement);
  return names;
}

function importsOf(statement, keep) {
  const bindings = ts.isImportDeclaration(statement) ? statement.importClause?.namedBindings : undefined;
  return bindings !== undefined && ts.isNamedImports(bindings) ? listWithout(statement, bindings, keep) : [];
}

/** The parts to remove from a list in braces; the whole statement if nothing in the list remains. */
function listWithout(statement, list, keep) {
  const kept = list.elements.filter(({ name }) => keep(name.text));
  if (kept.length === list.elements.length) return [];
  if (kept.length === 0) return [{ start: statement.pos, end: statement.end, text: '' }];
  const text = `{ ${kept.map((element) => element.getText()).join(', ')} }`;
  return [{ start: list.getStart(), end: list.end, text }];
}

const parse = (file, text) => ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);

function edited(source, cuts) {
  let text = source.text;
  for (const { start, end, text: put } of cuts.toReversed()) text = text.slice(0, start) + put + text.slice(end);
  return text;
}
