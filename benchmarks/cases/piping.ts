import { type Case, otherEngine } from '../case.js';
import { node, sluice } from '../toolchain.js';
import { ofLargeFrames } from './exactly-1m.js';

/** A stream as another kind of stream, piped into a sink, compared with Node's own way. */
function piping(name: string, title: string, contender: string, [what, own]: [string, string], atLeast: number): Case {
  return {
    name,
    title,
    unit: 'GB/s',
    ratio: 'ours / theirs',
    group: 'piping',
    plan(settings) {
      const { entry, sender } = ofLargeFrames(settings, 1024);
      return {
        ours: entry('sluice', sluice(contender, settings.engine)),
        against: [{ ...entry(what, node(own)), bound: { atLeast } }],
        also: otherEngine(settings, entry, contender),
        sender: sender(),
      };
    },
  };
}

export const pipings: readonly Case[] = [
  piping(
    'pipe-duplex',
    'a connection piped into a sink: pipeline(stream.toDuplex(), sink)',
    'sluice-pipeline',
    ['pipeline(socket, sink)', 'node-pipeline'],
    0.9,
  ),
  piping(
    'pipe-web',
    'the same by web streams: stream.toWeb().readable.pipeTo(sink)',
    'sluice-pipe-to',
    ['Duplex.toWeb(socket)', 'node-pipe-to'],
    1,
  ),
];
