/** The MQTT client and broker against mosquitto and its clients, paho-mqtt and MQTT.js, in both roles. */
// Runs once: the peers send the same bytes to either engine, and each way of reading has its own tests of sockets.
import { execFile, execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import mqttjs from 'mqtt';
import { MqttClient } from '../../examples/protocols/mqtt/client.js';
import type { MqttOptions } from '../../examples/protocols/mqtt/client-options.js';
import { MqttError, Reason, type Publish, type Version } from '../../examples/protocols/mqtt/mqtt.js';
import { Broker } from '../../examples/protocols/mqtt/server.js';
import { deferred, serving, sparePort, until } from '../loopback.js';
import { Process, example, installed } from '../program.js';
import { dataFolder, peer } from './peers.js';

const run = promisify(execFile);

const VERSIONS = [4, 5] as const;
const NAMES = { 4: 'mqttv311', 5: 'mqttv5' } as const;

/** Starts mosquitto; `lines` go into its configuration. */
async function mosquitto(t: ExecutionContext, ...lines: string[]): Promise<number> {
  const port = await sparePort(t);
  const folder = dataFolder(t);
  const file = path.join(folder, 'mosquitto.conf');
  const access = lines.some((line) => line.startsWith('allow_anonymous')) ? [] : ['allow_anonymous true'];
  writeFileSync(file, [`listener ${port} 127.0.0.1`, ...access, ...lines, ''].join('\n'));
  await peer(t, port, 'mosquitto', ['-c', file], { cwd: folder });
  return port;
}

/** Starts mosquitto_sub, and waits until it has subscribed. It prints topic, QoS, retain flag and payload. */
async function mosquittoSub(t: ExecutionContext, port: number, version: Version, ...args: string[]): Promise<Process> {
  const common = ['-d', '-p', String(port), '-V', NAMES[version], '-F', '> %t %q %r %p'];
  // Its output is a pipe, which the C library would write to only when a block is full.
  const program = new Process(t, 'stdbuf', ['-oL', 'mosquitto_sub', ...common, ...args]);
  await program.prints(/^Subscribed \(mid/m);
  return program;
}

async function mosquittoPub(port: number, version: Version, ...args: string[]): Promise<void> {
  await run('mosquitto_pub', ['-p', String(port), '-V', NAMES[version], ...args]);
}

/** What mosquitto_sub has printed, once it has ended by `-C`. */
async function received(program: Process): Promise<string[]> {
  const { stdout } = await program.ended;
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('> '))
    .map((line) => line.slice(2));
}

/** A client of ours that collects messages. */
async function ours(
  t: ExecutionContext,
  port: number,
  options: MqttOptions = {},
): Promise<{ client: MqttClient; messages: Publish[]; got: (n: number) => Promise<Publish[]> }> {
  const messages: Publish[] = [];
  let changed = deferred();
  const client = await MqttClient.connect('127.0.0.1', port, {
    ...options,
    onMessage: (message) => {
      messages.push(message);
      changed.resolve();
      changed = deferred();
    },
  });
  t.teardown(() => client.abort());
  const got = async (n: number): Promise<Publish[]> => {
    while (messages.length < n) await Promise.race([changed.promise, client.closed]);
    return messages;
  };
  return { client, messages, got };
}

/** A client of MQTT.js that does not connect again. */
async function theirs(
  t: ExecutionContext,
  port: number,
  options: mqttjs.IClientOptions = {},
): Promise<mqttjs.MqttClient> {
  const client = mqttjs.connect({ host: '127.0.0.1', port, reconnectPeriod: 0, ...options });
  t.teardown(() => client.end(true));
  await new Promise<void>((resolve) => client.once('connect', () => resolve()));
  return client;
}

// ------------------------------------------------------------------------------------------------ our broker

for (const version of VERSIONS) {
  test(`mosquitto_sub receives through the broker what mosquitto_pub publishes, in ${NAMES[version]}`, async (t) => {
    if (!installed(t, 'mosquitto_sub', 'mosquitto_pub')) return;
    const { port, errors } = await serving(t, new Broker().serve);
    await mosquittoPub(port, version, '-t', 'a/kept/c', '-m', 'kept', '-r', '-q', '1');
    const exact = await mosquittoSub(t, port, version, '-q', '1', '-t', 'a/+/c', '-t', 'b/#', '-C', '6');
    const all = await mosquittoSub(t, port, version, '-t', '#', '-C', '5');
    const dollar = await mosquittoSub(t, port, version, '-t', '$test/+', '-C', '1');
    await mosquittoPub(port, version, '-t', 'a/b', '-m', 'only for #');
    await mosquittoPub(port, version, '-t', '$test/x', '-m', 'only for $test/+');
    await mosquittoPub(port, version, '-t', 'a/ü/c', '-m', 'zero');
    await mosquittoPub(port, version, '-t', 'a/b/c', '-m', 'one', '-q', '1');
    await mosquittoPub(port, version === 4 ? 5 : 4, '-t', 'b', '-m', 'in the other version', '-q', '1', '-r');
    await mosquittoPub(port, version, '-t', 'b', '-n', '-r');
    await mosquittoPub(port, version, '-t', 'b/c', '-m', 'x'.repeat(100_000));
    t.deepEqual(await received(exact), [
      ...['a/kept/c 1 1 kept', 'a/ü/c 0 0 zero', 'a/b/c 1 0 one', 'b 1 0 in the other version', 'b 0 0 '],
      `b/c 0 0 ${'x'.repeat(100_000)}`,
    ]);
    t.deepEqual(await received(all), [
      ...['a/kept/c 0 1 kept', 'a/b 0 0 only for #', 'a/ü/c 0 0 zero', 'a/b/c 0 0 one', 'b 0 0 in the other version'],
    ]);
    t.deepEqual(await received(dollar), ['$test/x 0 0 only for $test/+']);
    t.deepEqual(errors, []);
  });

  test(`the will of a mosquitto_sub that is killed is published, and not that of one that ends, in ${NAMES[version]}`, async (t) => {
    if (!installed(t, 'mosquitto_sub', 'mosquitto_pub')) return;
    const { port } = await serving(t, new Broker().serve, { onError: () => {} });
    const watcher = await mosquittoSub(t, port, version, '-q', '1', '-t', 'will/#', '-C', '1');
    const will = (name: string): string[] => [
      '--will-topic',
      `will/${name}`,
      '--will-payload',
      'gone',
      '--will-qos',
      '1',
    ];
    const good = await mosquittoSub(t, port, version, '-t', 'stop', ...will('good'), '-C', '1');
    await mosquittoPub(port, version, '-t', 'stop', '-m', 'now');
    await good.ended;
    const killed = await mosquittoSub(t, port, version, '-t', 'x', ...will('killed'));
    killed.kill('SIGKILL');
    t.deepEqual(await received(watcher), ['will/killed 1 0 gone']);
  });

  test(`MQTT.js and our client exchange messages through the broker, in ${NAMES[version]}`, async (t) => {
    const { port, errors } = await serving(t, new Broker().serve);
    const { client, got } = await ours(t, port, { version });
    t.deepEqual(await client.subscribe(['from/them/#', 'large'], { qos: 1 }), [1, 1]);
    const other = await theirs(t, port, { protocolVersion: version });
    const heard: string[] = [];
    const last = deferred();
    other.on('message', (topic, payload, { qos }) => {
      heard.push(`${topic} ${qos} ${String(payload)}`);
      if (topic.endsWith('last')) last.resolve();
    });
    t.is((await other.subscribeAsync('from/us/+', { qos: 1 }))[0]!.qos, 1);
    const expected: string[] = [];
    for (let i = 0; i < 500; i++) {
      const qos = (i % 2) as 0 | 1;
      void client.publish(`from/us/${i}`, `m${i}`, { qos });
      other.publish(`from/them/${i}`, `m${i}`, { qos });
      expected.push(`from/us/${i} ${qos} m${i}`);
    }
    await client.publish('from/us/last', '', { qos: 1 });
    await last.promise;
    t.deepEqual(heard, [...expected, 'from/us/last 1 ']);
    const large = Buffer.alloc(900_000, 'abc');
    await other.publishAsync('large', large, { qos: 1 });
    const messages = await got(501);
    t.deepEqual(
      messages.slice(0, 500).map(({ topic, qos, payload }) => `${topic} ${qos} ${String(payload)}`),
      Array.from({ length: 500 }, (_, i) => `from/them/${i} ${i % 2} m${i}`),
    );
    t.true(large.equals(messages[500]!.payload));
    await client.unsubscribe('large');
    await other.unsubscribeAsync('from/us/+');
    await other.endAsync();
    await client.close();
    t.deepEqual(errors, []);
  });
}

test('the properties of MQTT 5 reach MQTT.js and come back', async (t) => {
  const { port } = await serving(t, new Broker().serve);
  const { client, got } = await ours(t, port);
  await client.subscribe('answers');
  const other = await theirs(t, port, { protocolVersion: 5 });
  await other.subscribeAsync('questions', { qos: 1, properties: { subscriptionIdentifier: 7 } });
  other.on('message', (_topic, payload, { properties }) => {
    t.is(properties?.subscriptionIdentifier, 7);
    t.is(properties?.messageExpiryInterval, 60);
    other.publish(properties!.responseTopic!, payload, {
      properties: { correlationData: properties!.correlationData!, userProperties: properties!.userProperties! },
    });
  });
  await client.publish('questions', 'why', {
    properties: {
      ...{ responseTopic: 'answers', correlationData: Buffer.from([0, 1, 255]), messageExpiry: 60 },
      userProperties: [['a', 'ü']],
    },
  });
  const [answer] = await got(1);
  t.is(String(answer!.payload), 'why');
  t.deepEqual(answer!.properties, { correlationData: Buffer.from([0, 1, 255]), userProperties: [['a', 'ü']] });
});

test('a client that connects with the client identifier of MQTT.js takes over its session', async (t) => {
  const { port } = await serving(t, new Broker().serve, { onError: () => {} });
  const first = await theirs(t, port, {
    ...{ protocolVersion: 5, clientId: 'same', clean: false, properties: { sessionExpiryInterval: 60 } },
  });
  await first.subscribeAsync('a', { qos: 1 });
  const ended = new Promise<mqttjs.IDisconnectPacket>((resolve) => first.once('disconnect', resolve));
  const { client, got } = await ours(t, port, { clientId: 'same', cleanStart: false });
  t.is((await ended).reasonCode, Reason.sessionTakenOver);
  t.true(client.connack.sessionPresent);
  await client.publish('a', 'for the second', { qos: 1 });
  t.is(String((await got(1))[0]!.payload), 'for the second');
});

test('MQTT.js and mosquitto_pub are refused without the right password, and with QoS 2', async (t) => {
  if (!installed(t, 'mosquitto_pub')) return;
  const reports: unknown[] = [];
  const broker = new Broker({
    authenticate: ({ username, password }) => username === 'ada' && String(password) === 'secret',
  });
  const { port } = await serving(t, broker.serve, { onError: (error) => void reports.push(error) });
  const wrong = mqttjs.connect({ host: '127.0.0.1', port, username: 'ada', password: 'no', reconnectPeriod: 0 });
  const error = await new Promise<Error>((resolve) => wrong.once('error', resolve));
  t.is((error as { code?: unknown }).code, 5);
  wrong.end(true);
  await t.throwsAsync(mosquittoPub(port, 5, '-t', 'a', '-m', 'b'), { message: /not authori[sz]ed/i });
  const login = ['-u', 'ada', '-P', 'secret', '-t', 'a', '-m', 'b'];
  await mosquittoPub(port, 5, ...login, '-q', '1');
  await t.throwsAsync(mosquittoPub(port, 4, ...login, '-q', '2'));
  await until(() => reports.length === 3);
  t.deepEqual(
    reports.map((report) => (report instanceof MqttError ? report.reason : report)),
    [Reason.notAuthorized, Reason.notAuthorized, Reason.qosNotSupported],
  );
});

const PAHO = `
import json, sys, threading
import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes

port, version = int(sys.argv[1]), int(sys.argv[2])
protocol = mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id='paho', protocol=protocol)
client.will_set('will', 'unused', qos=1)
subscribed, done = threading.Event(), threading.Event()
messages, granted = [], []

def on_connect(client, userdata, flags, reason, properties):
    assert not reason.is_failure, reason
    client.subscribe([('paho/+', 1), ('kept', 0)])

def on_subscribe(client, userdata, mid, reasons, properties):
    granted.extend(reason.value for reason in reasons)
    subscribed.set()

def on_message(client, userdata, message):
    user = getattr(message.properties, 'UserProperty', []) if version == 5 else []
    messages.append([message.topic, message.payload.decode(), message.qos, message.retain, user])
    if len(messages) == 202: done.set()

client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.connect('127.0.0.1', port, keepalive=30)
client.loop_start()
assert subscribed.wait(60)
sent = []
for i in range(200):
    properties = None
    if version == 5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [('i', str(i))]
    sent.append(client.publish('paho/%d' % (i % 7), 'grün %d' % i, qos=i % 2, properties=properties))
sent.append(client.publish('paho/last', 'x' * 300000, qos=1))
for each in sent: each.wait_for_publish(60)
assert done.wait(60)
client.disconnect()
client.loop_stop()
print(json.dumps({'granted': granted, 'messages': messages}))
`;

for (const version of VERSIONS) {
  test(`paho-mqtt publishes to and receives from the broker, in ${NAMES[version]}`, async (t) => {
    if (!installed(t, 'python3') || !importable(t, 'paho.mqtt')) return;
    const broker = new Broker();
    const { port, errors } = await serving(t, broker.serve);
    broker.publish('kept', 'since before', { retain: true });
    const { stdout } = await run('python3', ['-c', PAHO, String(port), String(version)], { maxBuffer: 1e7 });
    const { granted, messages } = JSON.parse(stdout) as { granted: number[]; messages: unknown[][] };
    t.deepEqual(granted, [1, 0]);
    t.is(messages.length, 202);
    t.deepEqual(messages.shift(), ['kept', 'since before', 0, true, []]);
    const [topic, payload] = messages.pop() as [string, string];
    t.is(topic, 'paho/last');
    t.true(payload === 'x'.repeat(300_000));
    // Paho sends messages with QoS 0 while those with QoS 1 wait for acknowledgements, so the order is that of each QoS.
    for (const qos of [0, 1]) {
      const expected = Array.from({ length: 100 }, (_, k) => {
        const i = 2 * k + qos;
        return [`paho/${i % 7}`, `grün ${i}`, qos, false, version === 5 ? [['i', String(i)]] : []];
      });
      t.deepEqual(
        messages.filter(([, , of]) => of === qos),
        expected,
      );
    }
    t.deepEqual(errors, []);
  });
}

/** Whether Python has this module; if not, one line of log, and a failure in CI. */
function importable(t: ExecutionContext, module: string): boolean {
  try {
    execFileSync('python3', ['-c', `import ${module}`], { stdio: 'ignore' });
    return true;
  } catch {
    t.log(`not installed here: the Python module ${module}`);
    t.falsy(process.env['CI'], `${module} must be installed in CI`);
    return false;
  }
}

// ------------------------------------------------------------------------------------------------ our client

for (const version of VERSIONS) {
  test(`our client exchanges messages with MQTT.js and mosquitto_pub through mosquitto, in ${NAMES[version]}`, async (t) => {
    if (!installed(t, 'mosquitto', 'mosquitto_pub')) return;
    const port = await mosquitto(t, 'max_queued_messages 0');
    await mosquittoPub(port, version, '-t', 'kept', '-m', 'since before', '-r', '-q', '1');
    const { client, messages, got } = await ours(t, port, { version });
    t.deepEqual(await client.subscribe(['kept', 'to/us/#'], { qos: 1 }), [1, 1]);
    const [kept] = await got(1);
    t.like(kept, { topic: 'kept', qos: 1, retain: true });
    t.is(String(kept!.payload), 'since before');
    messages.length = 0;

    const other = await theirs(t, port, { protocolVersion: version });
    const heard: string[] = [];
    const last = deferred();
    other.on('message', (_topic, payload) => {
      heard.push(String(payload));
      if (heard.length === 1000) last.resolve();
    });
    await other.subscribeAsync('from/us', { qos: 1 });
    const published: Promise<void>[] = [];
    for (let i = 0; i < 1000; i++) {
      published.push(client.publish('from/us', `${i}`, { qos: i < 500 ? 0 : 1 }));
      other.publish('to/us/x', `${i}`, { qos: i < 500 ? 0 : 1 });
    }
    await Promise.all(published);
    await last.promise;
    const numbers = Array.from({ length: 1000 }, (_, i) => `${i}`);
    t.deepEqual(heard, numbers);
    t.deepEqual(
      (await got(1000)).map(({ payload }) => String(payload)),
      numbers,
    );

    const large = Buffer.alloc(1_000_000, 'abc');
    await client.publish('to/us/large', large, { qos: 1 });
    t.true(large.equals((await got(1001))[1000]!.payload));
    await client.unsubscribe(['to/us/#', 'kept']);
    await client.close();
    await client.closed;
    await t.throwsAsync(client.publish('a', 'b', { qos: 1 }), { instanceOf: MqttError });
  });

  test(`our client resumes its session at mosquitto, and its will is published when it is lost, in ${NAMES[version]}`, async (t) => {
    if (!installed(t, 'mosquitto')) return;
    const port = await mosquitto(t);
    const { client: watcher, got } = await ours(t, port, { version });
    await watcher.subscribe('will', { qos: 1 });
    const session = { version, clientId: 'sleeper', cleanStart: false, properties: { sessionExpiry: 60 } };
    const will = { topic: 'will', payload: Buffer.from('lost'), qos: 1 } as const;
    const first = await ours(t, port, { ...session, will });
    t.false(first.client.connack.sessionPresent);
    await first.client.subscribe('mail', { qos: 1 });
    await first.client.abort();
    t.is(String((await got(1))[0]!.payload), 'lost');
    await watcher.publish('mail', 'while you slept', { qos: 1 });
    const second = await ours(t, port, { ...session, will });
    t.true(second.client.connack.sessionPresent);
    const [mail] = await second.got(1);
    t.is(String(mail!.payload), 'while you slept');
    await second.client.close();
    await watcher.publish('will', 'the end', { qos: 1 });
    t.is(String((await got(2))[1]!.payload), 'the end', 'a client that says goodbye has no will');
  });

  test(`mosquitto refuses our client without a password, and a second one with its identifier ends the first, in ${NAMES[version]}`, async (t) => {
    if (!installed(t, 'mosquitto')) return;
    const closed = await mosquitto(t, 'allow_anonymous false');
    await t.throwsAsync(MqttClient.connect('127.0.0.1', closed, { version }), {
      instanceOf: MqttError,
      message: `MQTT: connect: refused with ${version === 5 ? Reason.notAuthorized : 5}`,
    });
    const open = await mosquitto(t);
    const { client: first } = await ours(t, open, { version, clientId: 'same' });
    await ours(t, open, { version, clientId: 'same' });
    // mosquitto 2.0.11 closes the connection without a DISCONNECT packet.
    await t.throwsAsync(first.closed, { instanceOf: MqttError });
    await t.throwsAsync(first.publish('a', 'b'), { instanceOf: MqttError });
  });
}

test('the programs publish and subscribe, and the broker ends by SIGTERM', async (t) => {
  const program = (name: string, ...args: string[]): Process =>
    new Process(t, process.execPath, [example(`protocols/mqtt/${name}`), ...args]);
  const broker = program('server', '0');
  const [, port] = await broker.prints(/^Serving on 127\.0\.0\.1:(\d+)$/m);
  const sub = program('client', 'sub', 'rooms/+', port!);
  await sub.prints(/^Subscribed to rooms\/\+$/m);
  t.is((await program('client', 'pub', 'rooms/kitchen', '21', port!).ended).code, 0);
  await sub.prints(/^rooms\/kitchen 21$/m);
  broker.kill('SIGTERM');
  t.is((await broker.ended).code, 0);
  const { code, stderr } = await sub.ended;
  t.not(code, 0);
  t.regex(stderr, /the broker disconnects with 139/);
});
