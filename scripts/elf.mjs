/**
 * Reads what a shared library for Linux needs. This is a small ELF reader for 64-bit little-endian files, because the project has
 * no other binaries.
 */
import * as fs from 'node:fs';

const MACHINES = { 62: 'x64', 183: 'arm64' };
const SECTION = { SYMTAB: 2, STRTAB: 3, DYNAMIC: 6, VERNEED: 0x6ffffffe };
const DT_NEEDED = 1;

/**
 * @returns the machine, the required libraries, the required symbol versions of each, and whether the file still has debugging
 * symbols
 */
export function readElf(file) {
  const bytes = fs.readFileSync(file);
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46) throw new Error(`${file} is not an ELF file`);
  if (bytes[4] !== 2 || bytes[5] !== 1) throw new Error(`${file} is not a 64-bit little-endian file`);
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
    // A list of libraries, each with a list of versions. Each entry contains the distance to the next one; the last one contains
    // 0.
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
