/** A small HTTP/1.1 server on streams, enough for independent clients. */
import { Buffer } from 'node:buffer';
import { IncompleteReadError, type Stream } from 'sluice';

type Headers = ReadonlyMap<string, string>;

/**
 * Answers the requests of one connection: `/echo` with the body of the request, `/bytes/N` with N bytes, anything else
 * with the request line. Connections are kept open according to HTTP/1.1.
 */
export async function answer(stream: Stream): Promise<void> {
  for (;;) {
    const head = await readHead(stream);
    if (head === null) return;
    const [request = '', ...fields] = head.split('\r\n');
    const [method = '', target = '', version = ''] = request.split(' ');
    const headers = parse(fields);
    if (headers.get('expect') === '100-continue') await stream.write('HTTP/1.1 100 Continue\r\n\r\n');
    const body = await readBody(stream, headers);

    const [, size] = /^\/bytes\/(\d+)$/.exec(target) ?? [];
    const content = target === '/echo' ? body : size === undefined ? `${method} ${target}\n` : bytes(Number(size));
    const last = version === 'HTTP/1.0' || headers.get('connection') === 'close';
    void stream.write(
      [
        'HTTP/1.1 200 OK',
        `Content-Length: ${Buffer.byteLength(content)}`,
        `X-Request: ${method} ${target} of ${headers.get('host') ?? 'nobody'}`,
        `Connection: ${last ? 'close' : 'keep-alive'}`,
        '\r\n',
      ].join('\r\n'),
    );
    if (method !== 'HEAD') void stream.write(content);
    await stream.drain();
    if (last) return;
  }
}

/** N bytes in which every block differs from every other. */
export function bytes(n: number): Buffer {
  const blocks = new Uint32Array(Math.ceil(n / 4));
  for (let i = 0; i < blocks.length; i++) blocks[i] = i;
  return Buffer.from(blocks.buffer, 0, n);
}

async function readHead(stream: Stream): Promise<string | null> {
  try {
    return (await stream.readuntil('\r\n\r\n')).toString('latin1').trimEnd();
  } catch (error) {
    if (error instanceof IncompleteReadError && error.partial.length === 0) return null;
    throw error;
  }
}

function parse(fields: readonly string[]): Headers {
  return new Map(
    fields.map((field) => {
      const [, name = '', value = ''] = /^([^:]+):\s*(.*)$/.exec(field) ?? [];
      return [name.toLowerCase(), value];
    }),
  );
}

async function readBody(stream: Stream, headers: Headers): Promise<Buffer> {
  if (headers.get('transfer-encoding') !== 'chunked') {
    return stream.readexactly(Number(headers.get('content-length') ?? 0));
  }
  const chunks: Buffer[] = [];
  for (;;) {
    const size = Number.parseInt((await stream.readline()).toString('latin1'), 16);
    chunks.push(await stream.readexactly(size));
    await stream.readexactly(2);
    if (size === 0) return Buffer.concat(chunks);
  }
}
