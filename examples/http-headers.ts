/**
 * Prints the HTTP headers of a URL.
 *
 *     node out/examples/http-headers.js https://nodejs.org/en
 *     node out/examples/http-headers.js http://127.0.0.1:8080/path
 *
 * Set NODE_EXTRA_CA_CERTS=FILE in the environment to trust more certificate authorities than Node does by default.
 */
import { connect } from 'sluice';

async function printHeaders(url: URL): Promise<void> {
  // A URL has an IPv6 address in brackets; connect takes the address alone.
  const host = url.hostname.replace(/^\[|\]$/g, '');
  // With `ssl` the call also waits for the handshake, and rejects unless the certificate is for this host.
  await using stream =
    url.protocol === 'https:'
      ? await connect(host, Number(url.port || 443), { ssl: true })
      : await connect(host, Number(url.port || 80));

  // Not awaited: the writes are queued, and sent together while the next line waits for the answer.
  void stream.writelines([
    `HEAD ${url.pathname}${url.search} HTTP/1.1\r\n`,
    `Host: ${url.host}\r\n`,
    'Connection: close\r\n',
    '\r\n',
  ]);

  // Headers end with an empty line. A line longer than the limit of the stream rejects with a LimitOverrunError, so a
  // server that never ends its line cannot exhaust memory.
  for await (const line of stream) {
    const text = line.toString('latin1').trimEnd();
    if (text === '') break;
    console.log(`HTTP header> ${text}`);
  }
}

const url = URL.canParse(process.argv[2] ?? '') ? new URL(process.argv[2] as string) : null;
if (url?.protocol === 'http:' || url?.protocol === 'https:') {
  await printHeaders(url);
} else {
  console.error('usage: http-headers.js http[s]://HOST[:PORT]/PATH');
  process.exitCode = 2;
}
