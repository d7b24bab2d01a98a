/**
 * What a shared library for Linux needs, read out of the file: a small reader of ELF, 64 bits, little-endian, which is all that
 * binaries are made for here.
 */
import * as fs from 'node:fs';

const MACHINES = { 62: 'x64', 183: 'arm64' };
const SECTION = { SYMTAB: 2, STRTAB: 3, DYNAMIC: 6, VERNEED: 0x6ffffffe };
const DT_NEEDED = 1;

/**
 * @returns the machine, the libraries that are needed, the versions of symbols that are needed of each, and whether the
 *   symbols for debuggers are still in it
 */
export function readElf(file) {
  const bytes = fs.readFileSync(file);
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46) throw new Error(`${file} is no ELF file`);
  if (bytes[4] !== 2 || bytes[5] !== 1) throw new Error(`${file} is not of 64 bits, little-endian`);
  const sections = sectionsOf(bytes);
  const strings = (section) => {
    const { offset } = sections[section.link];
    return (at) => bytes.toString('latin1', offset + at, bytes.indexOf(0, offset + at));
  };

  const libraries = [];
  for (const section of sections.filter(({ type }) => type === SECTION.DYNAMIC)) {
    const text = strings(section);
    for (let at = section.offset; at < section.offset + section.size; at += 16) {
      if (bytes.readBigUInt64LE(at) === BigInt(DT_NEEDED)) libraries.push(text(Number(bytes.readBigUInt64LE(at + 8))));
    }
  }

  const versions = {};
  for (const section of sections.filter(({ type }) => type === SECTION.VERNEED)) {
    const text = strings(section);
    // A list of libraries, each with a list of versions; each entry has the distance to the next one, the last one 0.
    for (let at = section.offset, next = -1; next !== 0; at += next) {
      next = bytes.readUInt32LE(at + 12);
      const needed = [];
      let step = -1;
      for (let entry = at + bytes.readUInt32LE(at + 8); step !== 0; entry += step) {
        step = bytes.readUInt32LE(entry + 12);
        needed.push(text(bytes.readUInt32LE(entry + 8)));
      }
      versions[text(bytes.readUInt32LE(at + 4))] = needed.sort(byVersion);
    }
  }
  const machine = bytes.readUInt16LE(18);
  return {
    cpu: MACHINES[machine] ?? `machine ${machine}`,
    libraries,
    versions,
    hasSymbols: sections.some(({ type }) => type === SECTION.SYMTAB),
  };
}

function sectionsOf(bytes) {
  const start = Number(bytes.readBigUInt64LE(40));
  const size = bytes.readUInt16LE(58);
  return Array.from({ length: bytes.readUInt16LE(60) }, (_, index) => {
    const at = start + index * size;
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 24)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
      link: bytes.readUInt32LE(at + 40),
    };
  });
}

/** The newest glibc that a file needs symbols of, as `2.17`; null where it needs none. */
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

/** Whether a version, of numbers with points, is above another one. */
export function isAbove(version, other) {
  return byVersion(version, other) > 0;
}

function byVersion(a, b) {
  return a.localeCompare(b, 'en', { numeric: true });
}
