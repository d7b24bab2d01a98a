/**
 * `node scripts/protocols-chart.mjs [RECORD.json]`: draws docs/protocols.svg, the second bar chart in the README, from a benchmark record of
 * the group `protocols`. After a new record, pass its file here and update the caption in the README.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { contenders, writeBars } from './bars.mjs';
import { root } from './setup.mjs';

const RECORD = path.join(root, 'benchmarks/records/2026-11-27-node-20.20.2-2.json');
const CHART = path.join(root, 'docs/protocols.svg');

/**
 * The bars, by the protocol: the name of a case, the contender to compare with, and the label of the bar. Where the server would limit the
 * rate, the case is the one with a stand-in.
 */
const GROUPS = {
  'Redis server': [
    ['resp-server-set-p16', "net 'data' and redis-parser", 'SET, 16 in flight'],
    ['resp-server-get-p16', "net 'data' and redis-parser", 'GET, 16 in flight'],
    ['resp-server-lpush-p16', "net 'data' and redis-parser", 'LPUSH, 16 in flight'],
    ['resp-server-set-p1', "net 'data' and redis-parser", 'SET, one in flight'],
  ],
  'Redis client': [
    ['resp-client-set', 'ioredis', 'SET, 1,000 at a time'],
    ['resp-client-lrange', 'ioredis', 'LRANGE of 10,000'],
  ],
  'HTTP/1.1 server': [
    ['http-keep-alive', 'node:http', 'one in flight'],
    ['http-pipelined', 'node:http', '16 in flight'],
    ['http-post', 'node:http', 'POST of 1 KiB'],
  ],
  'WebSocket server': [
    ['websocket-p100', 'ws', '100 in flight'],
    ['websocket-1m', 'ws', 'messages of 1 MiB'],
  ],
  'Postgres client': [
    ['postgres-client-rows-replayed', 'pg', 'rows'],
    ['postgres-client-copy-replayed', 'pg', 'COPY'],
  ],
  'AMQP client': [
    ['amqp-client-publish', 'amqplib', 'publish with confirms'],
    ['amqp-client-consume', 'amqplib', 'consume'],
  ],
  'MQTT client': [['mqtt-client-fan-in', 'MQTT.js', 'receive, QoS 0']],
  'SMTP server': [['smtp-receive', 'smtp-server', 'mail of 10 MB']],
};

const [record = RECORD] = process.argv.slice(2);
const results = JSON.parse(fs.readFileSync(record, 'utf8'));
writeBars(CHART, {
  title: 'Throughput of the examples of protocols, compared with the packages that are used today',
  heading: 'Throughput of the examples, as a multiple of the package that they are compared with',
  left: 330,
  mark: 1,
  groups: Object.entries(GROUPS).map(([title, bars]) => ({
    title,
    rows: bars.map(([name, contender, label]) => {
      const ratio = contenders(results, name).get(contender)?.ratio;
      if (typeof ratio !== 'number') throw new Error(`${name}: the record has no ratio for ${contender}`);
      return {
        label: `${label}, compared with ${short(contender)}`,
        value: ratio,
        shown: `${ratio.toPrecision(2)} x`,
        ours: true,
      };
    }),
  })),
});

function short(contender) {
  return contender.replace("net 'data' and ", '');
}
