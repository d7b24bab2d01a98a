/**
 * `node scripts/check-binary.mjs [PLATFORM | FILE ...]`: checks that binaries for Linux and FreeBSD run on old systems: for the right
 * machine, without symbols of a newer glibc than the minimum, without libraries that may be missing, and stripped. Without
 * arguments it checks every binary that has been built. A FILE is checked as a binary for glibc.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { isAbove, neededGlibc, readElf } from './elf.mjs';
import { binaryFile, platformOf, platforms } from './platforms.mjs';
import { main, root, SetupError } from './setup.mjs';

/**
 * The minimum version of glibc. RHEL 7, Amazon Linux 2 and Debian 8 have it or a newer one, and Node's builds for old systems
 * require it too.
 */
export const GLIBC_FLOOR = '2.17';

/** The parts of the C library, which every Node process has already loaded. */
const LIBRARIES = {
  glibc: /^(lib(c|m|dl|pthread|rt)\.so\.\d+|ld-linux-[\w-]+\.so\.\d+|ld64\.so\.\d+|libgcc_s\.so\.1)$/,
  freebsd: /^(libc\.so\.7|libthr\.so\.3|libm\.so\.5|libgcc_s\.so\.1)$/,
  musl: /^(libc\.so|libc\.musl-\w+\.so\.1|ld-musl-\w+\.so\.1|libgcc_s\.so\.1)$/,
};

/** Whether the binary of a platform can be checked: it is an ELF file. */
export const isChecked = ({ os }) => os === 'linux' || os === 'freebsd';

/** @returns what is wrong with a binary, as sentences; empty if nothing is */
export function faultsOf(
  file,
  { cpu, os, libc = os === 'freebsd' ? 'freebsd' : 'glibc', glibc: floor = GLIBC_FLOOR } = {},
) {
  const elf = readElf(file);
  const faults = [];
  if (cpu !== undefined && elf.cpu !== cpu) faults.push(`it is for ${elf.cpu}, not ${cpu}`);
  const glibc = neededGlibc(elf);
  if (libc !== 'glibc' && glibc !== null) faults.push(`it needs glibc ${glibc}, but is for ${libc}`);
  if (libc === 'glibc' && glibc === null) faults.push('it names no version of glibc, so its requirements are unknown');
  if (libc === 'glibc' && glibc !== null && isAbove(glibc, floor)) {
    faults.push(`it needs glibc ${glibc}, and the minimum is ${floor}`);
  }
  const other = elf.libraries.filter((name) => !LIBRARIES[libc].test(name));
  if (other.length > 0) faults.push(`it needs ${other.join(', ')}, which may be missing`);
  if (elf.hasSymbols) faults.push('it is not stripped');
  return faults;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(fs.realpathSync(process.argv[1])).href) {
  await main(async () => {
    const built = platforms.filter((platform) => isChecked(platform) && fs.existsSync(binaryFile(platform)));
    const named = process.argv.slice(2).map((name) => (fs.existsSync(name) ? { file: name } : platformOf(name)));
    const wanted = named.length > 0 ? named : built;
    if (wanted.length === 0)
      throw new SetupError('There is no binary to check; run node scripts/build-binary.mjs first');
    for (const entry of wanted) {
      if (entry.file !== undefined) continue;
      if (!isChecked(entry))
        throw new SetupError(`The binary for ${entry.name} cannot be checked: only those for Linux and FreeBSD can`);
      if (!fs.existsSync(binaryFile(entry)))
        throw new SetupError(
          `There is no binary for ${entry.name} to check; run node scripts/build-binary.mjs ${entry.name} first`,
        );
    }
    let bad = 0;
    for (const entry of wanted) {
      const file = entry.file ?? binaryFile(entry);
      const faults = faultsOf(file, entry);
      const size = `${fs.statSync(file).size} bytes, glibc ${neededGlibc(readElf(file)) ?? 'none'}`;
      console.log(
        `${path.relative(root, path.resolve(file))}: ${faults.length === 0 ? `fits (${size})` : faults.join('; ')}`,
      );
      bad += faults.length;
    }
    return bad === 0 ? 0 : 1;
  });
}
