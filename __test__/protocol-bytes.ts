/**
 * Real bytes of many protocols, frame by frame: made by encoders from npm or by Node, or recorded from programs.
 *
 * The recorded ones were written by the program that the comment names, and cut here by hand.
 */
import { create } from '@bufbuild/protobuf';
import { StringValueSchema } from '@bufbuild/protobuf/wkt';
import { sizeDelimitedEncode } from '@bufbuild/protobuf/wire';
import { serialize as bson } from 'bson';
import { generate as mqtt } from 'mqtt-packet';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { createRequire } from 'node:module';
import { connect as dial, createServer, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { serialize as postgres } from 'pg-protocol';
import { certificates } from './certificates.js';

/** Without declarations of its own. */
const dns = createRequire(import.meta.url)('dns-packet') as { streamEncode(packet: object): Buffer };

/** The frames that a protocol sends, one after another. */
export async function protocolFrames(): Promise<Record<string, readonly Buffer[]>> {
  return {
    'AMQP 0-9-1': recorded(
      // amqplib 2.3.1: queue.declare, basic.publish, the header and the body of the message, a heartbeat
      '010001000000100032000a0000046a6f62730200000000ce',
      '0100010000000d003c0028000000046a6f627300ce',
      '02000100000019003c0000000000000000000580000a746578742f706c61696ece',
      '0300010000000568656c6c6fce',
      '08000000000000ce',
    ),
    'BSON file (`mongodump`)': [bson({ name: 'Ada', born: 1815 }), bson({}), bson({ text: 'x'.repeat(300) })].map(
      toBuffer,
    ),
    'DNS over TCP or TLS': [1, 2].map((id) =>
      dns.streamEncode({ type: 'query', id, questions: [{ type: 'A', name: 'example.com' }] }),
    ),
    'HTTP/2': await http2Frames(),
    Kafka: recorded(
      // kafkajs 2.2.4: ApiVersions v1, Metadata v1
      '0000001000120001000000010006736c75696365',
      '0000001c00030001000000020006736c756963650000000100066f7264657273',
    ),
    'memcached, binary': recorded(
      // memjs 1.3.2: get, set, noop
      '8000000300000000000000030000000100000000000000006b6579',
      '80010003080000000000001000000002000000000000000000000000000000006b657976616c7565',
      '800a00000000000000000000000000030000000000000000',
    ),
    MongoDB: [1, 2].map((id) => opMsg(id, bson({ ping: 1, $db: 'admin', comment: 'x'.repeat(id * 100) }))),
    'MQTT 3.1.1 and 5': [
      mqtt({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: 'sluice', keepalive: 60 }),
      mqtt({ cmd: 'publish', topic: 'a/b', payload: 'x'.repeat(20_000), qos: 0, dup: false, retain: false }),
      mqtt({ cmd: 'pingreq' }),
      mqtt({ cmd: 'publish', topic: 'a/b', payload: '', qos: 1, messageId: 7, dup: false, retain: false }),
    ],
    MySQL: recorded(
      // mysql2 3.24.6, as a server: the greeting, OK, and a result of two columns and two rows
      '4a0000000a382e302e333600070000000e77c3853a8a6cd200fff72d0200ff0015000000000000000000009534fb4a' +
        '4aae9b7556e934e1006d7973716c5f6e61746976655f70617373776f726400',
      '0700000200000000000000',
      '0100000402',
      '1800000503646566000000016e016e0c3f000b000000030000000000',
      '1e00000603646566000000046e616d65046e616d650c2d00ff000000fd0000000000',
      '05000007fe00000000',
      '060000080131036f6e65',
      '0600000901320374776f',
      '0500000afe00000000',
    ),
    Postgres: [
      postgres.password('secret'),
      postgres.query('select 1'),
      postgres.parse({ text: 'select $1::text' }),
      postgres.sync(),
      postgres.end(),
    ],
    'Postgres, start-up': [postgres.requestSsl(), postgres.startup({ user: 'ada', database: 'engines' })],
    'protobuf, delimited': ['', 'hello', 'x'.repeat(1000)].map((value) =>
      toBuffer(sizeDelimitedEncode(StringValueSchema, create(StringValueSchema, { value }))),
    ),
    SMPP: recorded(
      // smpp 0.5.1: bind_transceiver, submit_sm, enquire_link
      '00000023000000090000000000000001736c7569636500736563726574000050000000',
      '0000002e0000000400000000000000020000003130303000000032303030000000000000000001000548656c6c6f',
      '00000010000000150000000000000003',
    ),
    'TDS (SQL Server)': recorded(
      // tedious 19.2.2: PRELOGIN, then the SQL batch `select 1`
      '1201005e00000100000024000601002a000102002b000103002c0004040030000105003100240600550001ff130200020000' +
        '02000000000000d4dbf94f6c779f54452c8dff09c67beeb55bf81d0ea67402389c4ced3d63b393df1e7a0701',
      '0101002e0000010016000000120000000200000000000000000001000000730065006c0065006300740020003100',
    ),
    'TLS records': await tlsRecords(),
    'LDAP, SNMP, BER': [
      ...recorded(
        // ldapts 8.2.0: a bind and a search
        '302c0201026027020103041a636e3d61646d696e2c64633d6578616d706c652c64633d636f6d8006736563726574',
        '30360201036331041164633d6578616d706c652c64633d636f6d0a01020a010002010002010a010100a30b0403756964' +
          '04046a616e653000',
      ),
      // A certificate, whose length takes two bytes.
      Buffer.from((await certificates()).ca.replace(/-----.*-----/g, ''), 'base64'),
    ],
    'ZeroMQ (ZMTP 3)': recorded(
      // pyzmq with libzmq 4.3.5, a PUSH socket: READY, a message of two parts, a message of one
      '041a0552454144590b536f636b65742d547970650000000450555348',
      '01046a6f6273',
      `02000000000000012c${'78'.repeat(300)}`,
      '0004646f6e65',
    ),
  };
}

/** What Redis 7.0.15 answers to `PSYNC ? -1`, with `repl-diskless-sync no` and one key; after that two commands and a ping. */
export const REDIS_REPLICATION = {
  reply: Buffer.from('+FULLRESYNC 546f5c0a74407d3a120d1555bae45f77cd3d6dbf 0\r\n$193\r\n'),
  snapshot: Buffer.from(
    '524544495330303130fa0972656469732d76657206372e302e3135fa0a72656469732d62697473c040fa056374696d65c27576086b' +
      'fa08757365642d6d656dc290ea0e00fa0e7265706c2d73747265616d2d6462c000fa077265706c2d69642835343666356330613734' +
      '343037643361313230643135353562616534356637376364336436646266fa0b7265706c2d6f6666736574c000fa08616f662d6261' +
      '7365c000fe00fb010000086772656574696e670568656c6c6fffda7f80bca08dda72',
    'hex',
  ),
  commands: Buffer.from(
    '*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$8\r\ngreeting\r\n$2\r\nhi\r\n*1\r\n$4\r\nping\r\n',
  ),
};

function recorded(...frames: string[]): Buffer[] {
  return frames.map((hex) => Buffer.from(hex, 'hex'));
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** A message of MongoDB with one document. */
function opMsg(id: number, document: Uint8Array): Buffer {
  const head = Buffer.alloc(21);
  head.writeInt32LE(head.length + document.length, 0);
  head.writeInt32LE(id, 4);
  head.writeInt32LE(2013, 12);
  return Buffer.concat([head, document]);
}

/** What Node's client sends for a request with a body, after the preface of 24 bytes. */
async function http2Frames(): Promise<Buffer[]> {
  const END_STREAM = 1;
  const server = createServer((socket) => void socket.on('error', () => {}));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  client.on('error', () => {});
  const request = client.request({ ':method': 'POST', ':path': '/upload' });
  request.on('error', () => {});
  request.end('x'.repeat(1000));
  const [socket] = (await once(server, 'connection')) as [Socket];
  let received = Buffer.alloc(0);
  let frames: Buffer[] = [];
  const isLast = (frame: Buffer): boolean => frame[3] === 0 && (frame[4]! & END_STREAM) !== 0;
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, chunk]);
    frames = cut(received.subarray(24), (at) => 9 + at.readUIntBE(0, 3), 9);
    if (frames.some(isLast)) break;
  }
  client.destroy();
  socket.destroy();
  server.close();
  return frames;
}

/** What a server sends in a TLS connection: its half of the handshake, some data, and the end. */
async function tlsRecords(): Promise<Buffer[]> {
  const { server: identity, ca } = await certificates();
  const server = createTlsServer(identity, (socket) => socket.on('error', () => {}).end('x'.repeat(40_000)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sent: Buffer[] = [];
  const proxy = createServer((near) => {
    const far = dial((server.address() as AddressInfo).port, '127.0.0.1');
    for (const socket of [near, far]) socket.on('error', () => {});
    near.pipe(far);
    far.on('data', (chunk: Buffer) => sent.push(chunk)).pipe(near);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as AddressInfo;
  const client = connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca }).on('error', () => {});
  client.resume();
  await once(client, 'close');
  server.close();
  proxy.close();
  return cut(Buffer.concat(sent), (at) => 5 + at.readUInt16BE(3), 5);
}

/** Cuts bytes by hand, which is not what is tested. */
function cut(bytes: Buffer, length: (frame: Buffer) => number, header: number): Buffer[] {
  const frames: Buffer[] = [];
  let at = 0;
  while (at + header <= bytes.length) {
    const end = at + length(bytes.subarray(at));
    if (end > bytes.length) break;
    frames.push(bytes.subarray(at, end));
    at = end;
  }
  return frames;
}
