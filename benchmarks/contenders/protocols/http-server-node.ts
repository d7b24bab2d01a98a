/** `node:http`, with its default settings. Prints its port. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

function answer(response: ServerResponse, body: string): void {
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
  response.end(body);
}

const server = createServer((request, response) => {
  if (request.method !== 'POST') {
    answer(response, 'hello, world\n');
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    answer(response, `${body.length} bytes\n`);
  });
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
