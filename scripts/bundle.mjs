/**
 * Joins the compiled modules of the library in one file, `sluice.js`. Node takes longer to find and link a hundred modules than to run them:
 * as one file, the library is imported in a third of the time.
 *
 * Each module remains importable under its own name, as one statement that passes on its exports. So the tests can import internals, and
 * these are the same ones that the library uses. The package contains only the modules that it exports.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { rollup } from 'rollup';

const BUNDLE = 'sluice.js';
/** The module that rollup starts with, which exists only in memory. */
const ALL = '\0all';

/**
 * @param from - the folder of the compiled modules
 * @param to - the folder for the result, which the paths in the source map start from
 * @param modules - the modules to keep, by their paths in `from`
 * @param sourcemap - whether to write a source map; the modules must have theirs
 * @returns the paths of the modules that the bundle contains; and the files to write, by their paths in `to`
 */
export async function bundle(from, to, modules, { sourcemap }) {
  const exported = new Map();
  const made = await rollup({
    input: ALL,
    external: (id) => !id.startsWith('.') && !path.isAbsolute(id) && id !== ALL,
    plugins: [
      {
        name: 'all-modules',
        resolveId: (id) => (id === ALL ? id : null),
        async load(id) {
          if (id !== ALL) return { code: fs.readFileSync(id, 'utf8'), map: sourcemap ? readMap(id) : null };
          const lines = [];
          for (const module of modules) {
            const file = path.join(from, module);
            const { exports } = await this.load({ id: file });
            exported.set(module, exports);
            lines.push(passOn(exports, file, (name) => [name, unique(module, name)]));
          }
          return lines.join('\n');
        },
      },
    ],
    // Nothing is removed: what the tests import is what users get.
    treeshake: false,
    onLog: (_level, { message }) => {
      throw new Error(message);
    },
  });
  try {
    const file = path.join(to, BUNDLE);
    const { output } = await made.generate({ format: 'es', file, sourcemap, sourcemapExcludeSources: true });
    const [chunk] = output;
    const files = new Map(output.map((each) => [each.fileName, each.type === 'chunk' ? each.code : each.source]));
    for (const module of modules) {
      const up = '../'.repeat(module.split('/').length - 1) || './';
      files.set(
        module,
        passOn(exported.get(module), up + BUNDLE, (name) => [unique(module, name), name]),
      );
    }
    return { contains: chunk.moduleIds, files };
  } finally {
    await made.close();
  }
}

function readMap(file) {
  return fs.readFileSync(`${file}.map`, 'utf8');
}

/** The name of an export in the bundle, where those of all modules are together. */
function unique(module, name) {
  return `${module.replace(/\.js$/, '').replaceAll(/\W/g, '_')}$${name}`;
}

/** The statement that exports the names of a module from another file. */
function passOn(names, file, rename) {
  const quoted = JSON.stringify(toPosix(file));
  if (names.length === 0) return `import ${quoted};\n`;
  return `export { ${names.map((name) => rename(name).join(' as ')).join(', ')} } from ${quoted};\n`;
}

function toPosix(file) {
  return file.split(path.sep).join('/');
}
