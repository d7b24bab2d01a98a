/** The parser of PROXY headers: what it accepts, and how soon it refuses. */
// Runs once: nothing is read from a socket.
import { isIPv6 } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { parseProxyHeader, type ProxyInfo } from '#ts/server/proxy-header.js';
import { randomFrom, seed } from '../seed.js';
import {
  CLIENT,
  IPV4,
  IPV6,
  LOCAL,
  SIGNATURE,
  TARGET,
  V1,
  crc32c,
  tlv,
  unixPath,
  v2,
  withChecksum,
} from './proxy-headers.js';

function parsed(t: ExecutionContext, bytes: Uint8Array | string, message?: string): ProxyInfo {
  const buffer = Buffer.from(bytes as string);
  const result = parseProxyHeader(buffer);
  if (result.status !== 'complete') throw new Error(`${message ?? ''} ${JSON.stringify(result)}`);
  t.is(result.length, buffer.length, message);
  return result.info;
}

function refused(bytes: Uint8Array | string): string {
  const result = parseProxyHeader(Buffer.from(bytes as string));
  return result.status === 'malformed' ? result.reason : result.status;
}

const NOTHING = { source: null, destination: null, tlvs: [] };

// --- Version 1

test('version 1 announces TCP over IPv4 and IPv6, or nothing', (t) => {
  t.deepEqual(parsed(t, V1), { version: 1, command: 'PROXY', source: CLIENT, destination: TARGET, tlvs: [] });
  t.deepEqual(parsed(t, 'PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n'), {
    version: 1,
    command: 'PROXY',
    source: { address: '0.0.0.0', port: 0, family: 'IPv4' },
    destination: { address: '255.255.255.255', port: 65535, family: 'IPv4' },
    tlvs: [],
  });
  t.deepEqual(parsed(t, 'PROXY TCP6 2001:DB8:0:0::7 ::1 1 2\r\n'), {
    version: 1,
    command: 'PROXY',
    source: { address: '2001:db8::7', port: 1, family: 'IPv6' },
    destination: { address: '::1', port: 2, family: 'IPv6' },
    tlvs: [],
  });
  const longest = `ffff:f...f:ffff ffff:f...f:ffff 65535 65535`.replaceAll('f...f', 'ffff:ffff:ffff:ffff:ffff:ffff');
  for (const rest of ['', ' ', ` ${longest}`, ' \0\x7f anything']) {
    t.deepEqual(parsed(t, `PROXY UNKNOWN${rest}\r\n`), { version: 1, command: 'PROXY', ...NOTHING }, rest);
  }
  t.is(`PROXY UNKNOWN ${longest}\r\n`.length, 107);
});

test('version 1 must follow its syntax exactly', (t) => {
  const fields = 'its fields are not those of version 1';
  for (const line of [
    'PROXY TCP4 203.0.113.7 192.0.2.1 50123',
    'PROXY TCP4 203.0.113.7 192.0.2.1 50123 443 ',
    'PROXY TCP4 203.0.113.7 192.0.2.1 50123 443 1',
    'PROXY TCP4 203.0.113.7  192.0.2.1 50123 443',
    'PROXY  TCP4 203.0.113.7 192.0.2.1 50123 443',
    'PROXY TCP4\t203.0.113.7 192.0.2.1 50123 443',
    'PROXY TCP4 203.0.113.7 192.0.2.1 050123 443',
    'PROXY TCP4 203.0.113.7 192.0.2.1 50123 0443',
    'PROXY TCP4 203.0.113.7 192.0.2.1 +50123 443',
    'PROXY TCP4 203.0.113.7 192.0.2.1 -1 443',
    'PROXY TCP4 203.0.113.7 192.0.2.1 1e3 443',
    'PROXY TCP4 203.0.113.7 192.0.2.1 123456 443',
    'PROXY TCP5 203.0.113.7 192.0.2.1 50123 443',
    'PROXY tcp4 203.0.113.7 192.0.2.1 50123 443',
    'PROXY UDP4 203.0.113.7 192.0.2.1 50123 443',
    'PROXY UNKNOWNS',
    'PROXY unknown',
    'PROXY ',
  ]) {
    t.is(refused(`${line}\r\n`), fields, line);
  }
  t.is(refused('PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n'), 'a port is above 65535');
  t.is(refused('PROXY TCP4 203.0.113.7 192.0.2.1 443 65536\r\n'), 'a port is above 65535');
  for (const address of ['::1', '203.0.113', '203.0.113.07', '203.0.113.256', '0x7f.0.0.1', 'localhost', '1.2.3.4/8']) {
    t.is(refused(`PROXY TCP4 ${address} 192.0.2.1 1 2\r\n`), 'its addresses are not IPv4 addresses', address);
    t.is(refused(`PROXY TCP4 192.0.2.1 ${address} 1 2\r\n`), 'its addresses are not IPv4 addresses', address);
  }
  for (const address of ['127.0.0.1', 'fe80::1%eth0', '[::1]', ':::', '1:2:3:4:5:6:7', '::1::', '1:2:3:4:5:6:7:8:9']) {
    t.is(refused(`PROXY TCP6 ${address} ::1 1 2\r\n`), 'its addresses are not IPv6 addresses', address);
    t.is(refused(`PROXY TCP6 ::1 ${address} 1 2\r\n`), 'its addresses are not IPv6 addresses', address);
  }
});

test('version 1 ends with CR LF, within 107 bytes', (t) => {
  const end = 'its line does not end with CR LF';
  t.is(refused('PROXY TCP4 203.0.113.7 192.0.2.1 50123 443\n'), end);
  t.is(refused('PROXY TCP4 203.0.113.7 192.0.2.1 50123 443\rx'), end);
  t.is(refused('PROXY UNKNOWN \r\r\n'), end);
  t.is(refused('PROXY UNKNOWN a\nb\r\n'), end);
  t.is(refused('PROXY TCP4 203.0.113.7 192.0.2.1 50123 443\r'), 'incomplete');
  const unknown = (length: number): string => `PROXY UNKNOWN ${'x'.repeat(length - 16)}\r\n`;
  t.deepEqual(parsed(t, unknown(107)), { version: 1, command: 'PROXY', ...NOTHING });
  t.is(refused(unknown(107).slice(0, 106)), 'incomplete');
  t.is(refused(unknown(108)), 'it is longer than 107 bytes, the most of version 1');
  t.is(refused(unknown(108).slice(0, 107)), 'it is longer than 107 bytes, the most of version 1');
});

// --- Version 2

test('version 2 announces TCP over IPv4 and IPv6, Unix sockets, or nothing', (t) => {
  const common = { version: 2, command: 'PROXY', tlvs: [] };
  t.deepEqual(parsed(t, v2()), { ...common, source: CLIENT, destination: TARGET } as ProxyInfo);
  t.deepEqual(parsed(t, v2({ kind: 0x21, addresses: IPV6 })), {
    ...common,
    source: { address: '2001:db8::7', port: 50123, family: 'IPv6' },
    destination: { address: '2001:db8::1', port: 443, family: 'IPv6' },
  } as ProxyInfo);
  const unix = (source: string, destination: string): ProxyInfo =>
    parsed(t, v2({ kind: 0x31, addresses: Buffer.concat([unixPath(source), unixPath(destination)]) }));
  t.deepEqual(unix('/run/a.sock', ''), { ...common, source: '/run/a.sock', destination: '' } as ProxyInfo);
  t.deepEqual(unix('\0name', '/run/b\0rest'), { ...common, source: '\0name', destination: '/run/b' } as ProxyInfo);
  const full = 'x'.repeat(108);
  t.deepEqual(unix(full, `\0${full}`), { ...common, source: full, destination: `\0${full.slice(1)}` } as ProxyInfo);
  t.deepEqual(parsed(t, v2({ kind: 0, addresses: Buffer.alloc(0) })), { ...common, ...NOTHING } as ProxyInfo);
});

test('LOCAL is accepted with any content, and without addresses', (t) => {
  const local = { version: 2, command: 'LOCAL', ...NOTHING } as ProxyInfo;
  t.deepEqual(parsed(t, LOCAL), local);
  t.deepEqual(parsed(t, v2({ command: 0x20 })), local);
  t.deepEqual(parsed(t, v2({ command: 0x20, kind: 0xff, addresses: Buffer.alloc(7, 0xff) })), local);
  t.deepEqual(parsed(t, v2({ command: 0x20, kind: 0x11, addresses: Buffer.alloc(3) })), local);
});

test('the TLVs of version 2 are kept as they are, unknown types and empty values included', (t) => {
  const tlvs = [
    tlv(0x02, 'example.org'),
    tlv(0xe4, ''),
    tlv(0x04, Buffer.alloc(300)),
    tlv(0xff, Buffer.from([0, 255])),
  ];
  const info = parsed(t, v2({ tlvs: Buffer.concat(tlvs) }));
  t.deepEqual(info.source as object, CLIENT);
  t.deepEqual(
    info.tlvs.map(({ type, value }) => [type, value.toString('hex')]),
    [
      [0x02, Buffer.from('example.org').toString('hex')],
      [0xe4, ''],
      [0x04, '00'.repeat(300)],
      [0xff, '00ff'],
    ],
  );
  const alone = parsed(t, v2({ kind: 0, addresses: Buffer.alloc(0), tlvs: tlv(1, 'h2') }));
  t.deepEqual([alone.source, alone.tlvs.length], [null, 1]);
  // A header as long as a header can be.
  const most = parsed(t, v2({ tlvs: tlv(0xee, Buffer.alloc(65535 - 12 - 3, 1)) }));
  t.is(most.tlvs[0]!.value.length, 65520);
});

test('version 2: a version, command, family or length that cannot be is refused as soon as it is there', (t) => {
  const cases: [bytes: Buffer, at: number, reason: RegExp][] = [
    [v2({ command: 0x11 }), 13, /its version is 1, not 2/],
    [v2({ command: 0x01 }), 13, /its version is 0/],
    [v2({ command: 0x31 }), 13, /its version is 3/],
    [v2({ command: 0x22 }), 13, /its command is 2/],
    [v2({ command: 0x2f }), 13, /its command is 15/],
    [v2({ kind: 0x12 }), 14, /datagrams, on a stream \(0x12\)/],
    [v2({ kind: 0x22 }), 14, /datagrams/],
    [v2({ kind: 0x32 }), 14, /datagrams/],
    [v2({ kind: 0x10 }), 14, /unknown \(0x10\)/],
    [v2({ kind: 0x01 }), 14, /unknown \(0x01\)/],
    [v2({ kind: 0x41 }), 14, /unknown/],
    [v2({ kind: 0x13 }), 14, /unknown/],
    [v2({ length: 11 }), 16, /announces 11 bytes, but its addresses have 12/],
    [v2({ length: 0 }), 16, /announces 0 bytes/],
    [v2({ kind: 0x21, addresses: IPV6, length: 35 }), 16, /announces 35 bytes, but its addresses have 36/],
    [v2({ kind: 0x31, length: 215 }), 16, /announces 215 bytes, but its addresses have 216/],
  ];
  for (const [bytes, at, reason] of cases) {
    t.is(refused(bytes.subarray(0, at - 1)), 'incomplete', String(reason));
    t.regex(refused(bytes.subarray(0, at)), reason);
    t.regex(refused(bytes), reason);
  }
});

test('version 2: TLVs must fill the rest of the header exactly', (t) => {
  t.is(refused(v2({ tlvs: Buffer.from([1]) })), 'TLV 0 ends after the header');
  t.is(refused(v2({ tlvs: Buffer.from([1, 0]) })), 'TLV 0 ends after the header');
  t.is(refused(v2({ tlvs: Buffer.from([1, 0, 1]) })), 'TLV 0 ends after the header');
  t.is(refused(v2({ tlvs: Buffer.from([1, 0, 0, 2, 255, 255, 0]) })), 'TLV 1 ends after the header');
  t.is(refused(v2({ kind: 0, addresses: Buffer.alloc(0), tlvs: Buffer.from([1, 0]) })), 'TLV 0 ends after the header');
});

test('version 2: a checksum is verified', (t) => {
  // The check value of the CRC catalogues.
  t.is(crc32c(Buffer.from('123456789')), 0xe3069283);
  const good = withChecksum({ tlvs: tlv(0x02, 'example.org') });
  t.deepEqual(
    parsed(t, good).tlvs.map(({ type }) => type),
    [2, 3],
  );
  for (let i = 16; i < good.length; i++) {
    // Without its type it is no checksum.
    if (i === good.length - 7) continue;
    const bad = Buffer.from(good);
    bad[i]! ^= 0x10;
    t.not(refused(bad), 'complete', `byte ${i}`);
  }
  const inAddress = Buffer.from(good);
  inAddress[16]! ^= 1;
  t.is(refused(inAddress), 'its checksum is wrong');
  t.is(refused(v2({ tlvs: tlv(3, Buffer.alloc(3)) })), 'its checksum has 3 bytes, not 4');
  t.regex(refused(v2({ tlvs: Buffer.concat([withChecksum().subarray(-7), tlv(3, Buffer.alloc(4))]) })), /checksum/);
});

// --- Any bytes

test('a byte that begins no header is refused at once', (t) => {
  for (let byte = 0; byte < 256; byte++) {
    const begins = byte === 0x50 || byte === 0x0d;
    t.is(refused(Buffer.from([byte])) === 'incomplete', begins, `byte ${byte}`);
  }
  for (const start of [Buffer.from('PROXY '), SIGNATURE]) {
    for (let i = 1; i < start.length; i++) {
      const wrong = Buffer.from(start.subarray(0, i + 1));
      wrong[i]! ^= 0x20;
      t.regex(refused(wrong), new RegExp(`^byte ${i} is 0x[0-9a-f]{2}, `));
    }
  }
  t.is(refused('GET / HTTP/1.1\r\n\r\n'), 'byte 0 is 0x47, which no PROXY header has there');
});

const HEADERS: readonly Buffer[] = [
  Buffer.from(V1),
  Buffer.from('PROXY TCP6 ::ffff:1.2.3.4 2001:db8:0:1::2 1 65535\r\n'),
  Buffer.from('PROXY UNKNOWN\r\n'),
  LOCAL,
  v2(),
  v2({ kind: 0x21, addresses: IPV6, tlvs: Buffer.concat([tlv(4, ''), tlv(0xe0, 'own')]) }),
  v2({ kind: 0x31, addresses: Buffer.concat([unixPath('/a'), unixPath('')]) }),
  withChecksum({ addresses: IPV4, tlvs: tlv(1, 'h2') }),
];

test('every header is incomplete up to its last byte, and what follows it is not part of it', (t) => {
  for (const header of HEADERS) {
    for (let i = 0; i < header.length; i++) {
      t.is(parseProxyHeader(header.subarray(0, i)).status, 'incomplete', `${i} of ${header.toString('latin1')}`);
    }
    const alone = parseProxyHeader(header);
    for (const more of ['\n', '\r\n', 'PROXY TCP4', SIGNATURE, Buffer.alloc(70_000)]) {
      t.deepEqual(parseProxyHeader(Buffer.concat([header, Buffer.from(more as string)])), alone);
    }
  }
});

test('the result keeps nothing of the bytes it was parsed from', (t) => {
  for (const header of HEADERS) {
    const bytes = Buffer.from(header);
    const result = parseProxyHeader(bytes);
    bytes.fill(0xaa);
    t.deepEqual(result, parseProxyHeader(header));
  }
});

test('IPv6 addresses have the form that systems print, whichever way they were sent', (t) => {
  const cases: [sent: string, shown: string][] = [
    ['::', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1::', '1::'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:0:2:0:0:3:4', '1::2:0:0:3:4'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['0:1:2:3:4:5:6:7', '0:1:2:3:4:5:6:7'],
    ['FE80::00AB', 'fe80::ab'],
    ['::FFFF:192.0.2.1', '::ffff:192.0.2.1'],
    ['::ffff:c000:201', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
  ];
  for (const [sent, shown] of cases) {
    const info = parsed(t, `PROXY TCP6 ${sent} ${shown} 1 2\r\n`);
    t.deepEqual([info.source, info.destination] as unknown[], [
      { address: shown, port: 1, family: 'IPv6' },
      { address: shown, port: 2, family: 'IPv6' },
    ]);
  }
});

test('random and mutated bytes never throw, and more bytes never change a verdict', (t) => {
  const random = randomFrom(seed(t));
  const verdicts = { incomplete: 0, complete: 0, malformed: 0 };
  for (let round = 0; round < 2000; round++) {
    const base = HEADERS[random(HEADERS.length)]!;
    let bytes = Buffer.concat([base, Buffer.alloc(random(40), random(256))]);
    for (let changes = random(4); changes > 0; changes--) {
      const at = random(bytes.length);
      if (random(3) > 0) bytes[at] = random(256);
      else if (random(2) > 0)
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + random(4)))]);
      else bytes = Buffer.concat([bytes.subarray(0, at), Buffer.alloc(random(4), random(256)), bytes.subarray(at)]);
    }
    if (random(10) === 0) bytes = Buffer.from(Array.from({ length: random(200) }, () => random(256)));
    if (random(5) === 0) bytes = bytes.subarray(0, random(bytes.length));
    const whole = parseProxyHeader(bytes);
    verdicts[whole.status]++;
    let last = parseProxyHeader(bytes.subarray(0, 0));
    for (let i = 0; i <= bytes.length; i++) {
      const next = parseProxyHeader(bytes.subarray(0, i));
      if (last.status !== 'incomplete' && JSON.stringify(next) !== JSON.stringify(last)) {
        t.fail(`${bytes.toString('hex')} after ${i} bytes`);
        return;
      }
      last = next;
    }
    if (whole.status !== 'complete') continue;
    const { source, destination, tlvs } = whole.info;
    for (const end of [source, destination]) {
      if (typeof end === 'object' && end?.family === 'IPv6' && !isIPv6(end.address)) t.fail(end.address);
    }
    if (tlvs.reduce((sum, { value }) => sum + 3 + value.length, 0) > Math.max(0, whole.length - 16))
      t.fail(bytes.toString('hex'));
  }
  t.true(
    Object.values(verdicts).every((n) => n > 50),
    JSON.stringify(verdicts),
  );
});
