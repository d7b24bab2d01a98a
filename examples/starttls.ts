/**
 * Both sides of a STARTTLS exchange: a connection that begins in plain text and continues encrypted.
 *
 *     node out/examples/starttls.js server CERT_FILE KEY_FILE [PORT [HOST]]
 *     node out/examples/starttls.js client CA_FILE [PORT [HOST [NAME]]]
 *
 * NAME is the name in the server's certificate, by default the host. The protocol has two commands: STARTTLS, after whose
 * answer both sides speak TLS, and WHISPER TEXT, which is refused in plain text. To create a certificate for a test:
 *
 *     openssl req -x509 -newkey rsa:2048 -nodes -days 7 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
 *       -keyout key.pem -out cert.pem
 *     node out/examples/starttls.js server cert.pem key.pem
 *     node out/examples/starttls.js client cert.pem 8888 127.0.0.1 localhost
 */
import { readFile } from 'node:fs/promises';
import { connect, StreamServer, type Stream } from 'sluice';

async function serve(host: string, port: number, certFile: string, keyFile: string): Promise<void> {
  const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)]);

  const handler = async (stream: Stream): Promise<void> => {
    let encrypted = false;
    for await (const line of stream) {
      const [command = '', ...words] = line.toString().trimEnd().split(' ');
      if (command === 'STARTTLS' && !encrypted) {
        // The answer is sent in plain text: earlier writes are sent before the upgrade.
        void stream.write('OK begin\n');
        // Rejects if more plain text follows the command: an attacker might have injected it.
        await stream.startTls({ cert, key });
        encrypted = true;
      } else if (command === 'WHISPER' && encrypted) {
        await stream.write(`OK ${words.join(' ').toLowerCase()}\n`);
      } else {
        await stream.write(`NO ${command}\n`);
      }
    }
  };

  await using server = new StreamServer(handler, host, port, {
    onError: (error) => console.error(error instanceof Error ? error.message : error),
  });
  await server.startServing();
  const { port: taken } = server.address()!;
  console.log(`Serving on ${host}:${taken}`);

  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  await server.serveForever({ signal: stop.signal }).catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
}

async function whisper(host: string, port: number, caFile: string, serverHostname: string): Promise<void> {
  const ca = await readFile(caFile);
  await using stream = await connect(host, port);

  const ask = async (request: string): Promise<boolean> => {
    await stream.write(`${request}\n`);
    const answer = (await stream.readline()).toString().trimEnd();
    console.log(`${request} -> ${answer}`);
    return answer.startsWith('OK');
  };

  await ask('WHISPER A Secret');
  if (!(await ask('STARTTLS'))) throw new Error('the server does not speak TLS');
  // From here on the same stream is encrypted. If the server's certificate is not for that name, the call rejects and the
  // connection is closed.
  await stream.startTls({ ca }, { serverHostname, sslHandshakeTimeout: 10_000 });
  const { version } = stream.getExtraInfo('cipher') as { version: string };
  console.log(`Encrypted: ${version}`);
  await ask('WHISPER A Secret');
}

const [role, ...args] = process.argv.slice(2);
if (role === 'server' && args.length >= 2) {
  const [certFile = '', keyFile = '', port = '8888', host = '127.0.0.1'] = args;
  await serve(host, Number(port), certFile, keyFile);
} else if (role === 'client' && args.length >= 1) {
  const [caFile = '', port = '8888', host = '127.0.0.1', name = host] = args;
  await whisper(host, Number(port), caFile, name);
} else {
  console.error('usage: starttls.js server CERT_FILE KEY_FILE [PORT [HOST]]');
  console.error('       starttls.js client CA_FILE [PORT [HOST [NAME]]]');
  process.exitCode = 2;
}
