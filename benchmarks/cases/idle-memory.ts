import { type Case, idleServers, otherEngine } from '../case.js';
import { node, sluice } from '../toolchain.js';

/** What a stream may cost in addition to its socket. */
const ALLOWANCE_KIB = 2;

export const idleMemory: Case = {
  name: 'idle-memory',
  title: 'resident memory of a server per idle connection',
  unit: 'KiB',
  ratio: 'ours / theirs',
  plan(settings) {
    const connections = settings.quick ? 200 : 5_000;
    const entry = idleServers(connections, ({ bytes }) => bytes / 1024);
    const allowed = idleServers(connections, ({ bytes }) => bytes / 1024 + ALLOWANCE_KIB);
    const raw = node('node-idle', { flags: ['--expose-gc'] });
    return {
      ours: entry('sluice', sluice('sluice-idle', settings.engine, ['--expose-gc'])),
      against: [{ ...allowed(`raw net.Socket, and ${ALLOWANCE_KIB} KiB`, raw), bound: { atMost: 1 } }],
      also: [
        ...otherEngine(settings, (name, locate) => entry(name, locate), 'sluice-idle', '', ['--expose-gc']),
        entry('sluice, idleTimeout', sluice('sluice-idle-timeout', settings.engine, ['--expose-gc'])),
        entry('raw net.Socket', raw),
      ],
    };
  },
};
