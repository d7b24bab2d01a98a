/**
 * Replaces native/loopback.c on machines without a C compiler, with the same arguments and output. It is slower than the C
 * program; the table shows its speed next to the contenders.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

import { now } from './contenders/program.js';

const READ_SIZE = 256 * 1024;
const WRITE_SIZE = 1024 * 1024;
const HOST = '127.0.0.1';

async function send(path: string, total: number, chunk: number, connections: number): Promise<void> {
  const block = await readFile(path);
  const server = createServer({ allowHalfOpen: true, noDelay: chunk > 0 });
  const peers: Socket[] = [];
  const complete = new Promise<void>((resolve) => {
    server.on('connection', (peer) => {
      peers.push(peer.resume());
      if (peers.length === connections) resolve();
    });
  });
  server.listen({ host: HOST, port: 0, backlog: 1024 });
  await once(server, 'listening');
  console.log((server.address() as AddressInfo).port);
  await complete;
  server.close();
  await Promise.all(peers.map((peer) => sendTo(peer, block, total, chunk > 0 ? chunk : WRITE_SIZE)));
}

async function sendTo(peer: Socket, block: Buffer, total: number, most: number): Promise<void> {
  for (let sent = 0; sent < total;) {
    const from = sent % block.length;
    const part = block.subarray(from, Math.min(from + most, block.length, from + total - sent));
    sent += part.length;
    if (!peer.write(part)) await once(peer, 'drain');
  }
  peer.end();
  await once(peer, 'close');
}

async function sink(port: number, connections: number): Promise<void> {
  let bytes = 0;
  const target = Buffer.allocUnsafe(READ_SIZE);
  const callback = (count: number): boolean => {
    bytes += count;
    return true;
  };
  const sockets = Array.from({ length: connections }, () =>
    connect({ host: HOST, port, onread: { buffer: target, callback } }),
  );
  const ended = sockets.map((socket) => once(socket, 'end'));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  const start = now();
  await Promise.all(ended);
  console.log(JSON.stringify({ bytes, seconds: now() - start }));
}

function echo(port: number, depth: number, count: number, length: number): void {
  const requests = Buffer.alloc(depth * length);
  for (let i = 0; i < requests.length; i++) requests[i] = 'a'.charCodeAt(0) + ((i * 7) % 26);
  for (let i = 1; i <= depth; i++) requests[i * length - 1] = '\n'.charCodeAt(0);
  const total = count * length;
  let sent = 0;
  let received = 0;
  let start = 0;
  const socket = connect({ host: HOST, port, noDelay: true });
  const ask = (): void => {
    const due = Math.min(Math.floor(received / length) * length + requests.length, total);
    while (sent < due) {
      const from = sent % requests.length;
      const part = requests.subarray(from, Math.min(requests.length, from + due - sent));
      sent += part.length;
      socket.write(part);
    }
  };
  socket.on('connect', () => {
    start = now();
    ask();
  });
  socket.on('data', (answers) => {
    for (let at = 0; at < answers.length;) {
      const from = received % requests.length;
      const some = Math.min(requests.length - from, answers.length - at);
      if (answers.compare(requests, from, from + some, at, at + some) !== 0) {
        throw new Error('an answer differs from its request');
      }
      at += some;
      received += some;
    }
    if (received < total) {
      ask();
      return;
    }
    console.log(JSON.stringify({ frames: count, bytes: received, seconds: now() - start }));
    socket.destroy();
  });
  socket.on('end', () => {
    throw new Error('the server closed the connection early');
  });
}

async function hold(port: number, connections: number): Promise<void> {
  for (let i = 0; i < connections; i++) await once(connect({ host: HOST, port }).resume(), 'connect');
  console.log(JSON.stringify({ connections }));
  process.stdin.resume().on('end', () => process.exit());
}

const [mode, ...words] = process.argv.slice(2);
const [first = 0, second = 0, third = 0, fourth = 0] = words.map(Number);
if (mode === 'send' && words.length === 4) await send(words[0] as string, second, third, fourth);
else if (mode === 'sink' && words.length === 2) await sink(first, second);
else if (mode === 'echo' && words.length === 4) echo(first, second, third, fourth);
else if (mode === 'hold' && words.length === 2) await hold(first, second);
else throw new Error('send BLOCK TOTAL CHUNK COUNT | sink PORT COUNT | echo PORT DEPTH COUNT LENGTH | hold PORT COUNT');
