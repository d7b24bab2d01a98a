/**
 * The load on the receivers of mail.
 *
 *     node smtp-load.js PORT LENGTH CONNECTIONS COUNT
 *
 * Sends COUNT messages of about LENGTH bytes, on CONNECTIONS connections at the same time, and prints one line of JSON: the messages that
 * were accepted (`frames`), their bytes, the seconds, and the 99th percentile of the latency in ms (`p99`).
 */
import { mail, Sender } from './smtp-sender.js';

const [port, length, connections, count] = process.argv.slice(2).map(Number) as [number, number, number, number];

/** A line of Base64, as in an attachment. */
const LINE = `${'QmVuY2htYXJr'.repeat(7).slice(0, 76)}\r\n`;

const text = LINE.repeat(Math.ceil(length / LINE.length));
const message = mail(text);
const senders = await Promise.all(Array.from({ length: connections }, () => Sender.connect(port)));
const latencies: number[] = [];
let sent = 0;
const start = performance.now();
await Promise.all(
  senders.map(async (sender) => {
    while (sent < count) {
      sent++;
      const before = performance.now();
      const code = await sender.send(message);
      if (code !== '250') throw new Error(`a message was answered with ${code}`);
      latencies.push(performance.now() - before);
    }
  }),
);
const seconds = (performance.now() - start) / 1000;
const p99 = latencies.sort((a, b) => a - b)[Math.ceil(count * 0.99) - 1];
for (const sender of senders) sender.close();
console.log(JSON.stringify({ frames: latencies.length, bytes: latencies.length * text.length, seconds, p99 }));
