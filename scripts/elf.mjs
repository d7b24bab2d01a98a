/**
 * Reads what a shared library for Linux or FreeBSD needs. This is a small ELF reader, for 32 and 64 bits and both byte orders, because
 * the project has no other binaries.
 */
import * as fs from 'node:fs';

/** By the number of the machine, the size of a word in bits, and the byte order. */
const MACHINES = {
  '62/64/LE': 'x64',
  '183/64/LE': 'arm64',
  '40/32/LE': 'arm',
  '22/64/BE': 's390x',
  '21/64/LE': 'ppc64',
  '243/64/LE': 'riscv64',
};
const SECTION = { SYMTAB: 2, STRTAB: 3, DYNAMIC: 6, VERNEED: 0x6ffffffe };
const DT_NEEDED = 1;

/** Where the fields are in a file with words of 32 and of 64 bits. */
const LAYOUTS = {
  1: { bits: 32, sections: 32, entry: 46, count: 48, offset: 16, size: 20, link: 24 },
  2: { bits: 64, sections: 40, entry: 58, count: 60, offset: 24, size: 32, link: 40 },
};

/**
 * @returns the machine, the required libraries, the required symbol versions of each, and whether the file still has debugging
 * symbols
 */
export function readElf(file) {
  const bytes = fs.readFileSync(file);
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46) throw new Error(`${file} is not an ELF file`);
  const layout = LAYOUTS[bytes[4]];
  const order = { 1: 'LE', 2: 'BE' }[bytes[5]];
  if (layout === undefined || order === undefined) throw new Error(`${file} has an unknown word size or byte order`);
  const half = (at) => bytes[`readUInt16${order}`](at);
  const word = (at) => bytes[`readUInt32${order}`](at);
  const long = (at) => (layout.bits === 32 ? word(at) : Number(bytes[`readBigUInt64${order}`](at)));

  const first = long(layout.sections);
  const sections = Array.from({ length: half(layout.count) }, (_, index) => {
    const at = first + index * half(layout.entry);
    return {
      type: word(at + 4),
      offset: long(at + layout.offset),
      size: long(at + layout.size),
      link: word(at + layout.link),
    };
  });
  const strings = (section) => {
    const { offset } = sections[section.link];
    return (at) => bytes.toString('latin1', offset + at, bytes.indexOf(0, offset + at));
  };

  const libraries = [];
  for (const section of sections.filter(({ type }) => type === SECTION.DYNAMIC)) {
    const text = strings(section);
    const step = layout.bits / 8;
    for (let at = section.offset; at < section.offset + section.size; at += 2 * step) {
      if (long(at) === DT_NEEDED) libraries.push(text(long(at + step)));
    }
  }

  const versions = {};
  for (const section of sections.filter(({ type }) => type === SECTION.VERNEED)) {
    const text = strings(section);
    // A list of libraries, each with a list of versions. Each entry contains the distance to the next one; the last one contains
    // 0.
    for (let at = section.offset, next = -1; next !== 0; at += next) {
      next = word(at + 12);
      const needed = [];
      let step = -1;
      for (let entry = at + word(at + 8); step !== 0; entry += step) {
        step = word(entry + 12);
        needed.push(text(word(entry + 8)));
      }
      versions[text(word(at + 4))] = needed.sort(byVersion);
    }
  }
  const machine = `${half(18)}/${layout.bits}/${order}`;
  return {
    cpu: MACHINES[machine] ?? `machine ${machine}`,
    libraries,
    versions,
    hasSymbols: sections.some(({ type }) => type === SECTION.SYMTAB),
  };
}

/** The newest glibc version whose symbols a file needs, such as `2.17`; null if it needs none. */
export function neededGlibc({ versions }) {
  const all = Object.values(versions).flat();
  return (
    all
      .filter((version) => /^GLIBC_[\d.]+$/.test(version))
      .sort(byVersion)
      .at(-1)
      ?.slice('GLIBC_'.length) ?? null
  );
}

/** Whether a dotted version is newer than another one. */
export function isAbove(version, other) {
  return byVersion(version, other) > 0;
}

function byVersion(a, b) {
  return a.localeCompare(b, 'en', { numeric: true });
}
