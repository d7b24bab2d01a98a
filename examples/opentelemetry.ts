/**
 * Spans and metrics for OpenTelemetry, from the diagnostics channels and the counters of sluice.
 *
 *     node out/examples/opentelemetry.js
 *
 * `traceSluice` and `measureServer` are to copy. The rest is a server and some clients, so that there is something to report, and prints
 * what was exported. A real program uses the exporters of its collector instead of those in memory, BatchSpanProcessor instead of
 * SimpleSpanProcessor, and the context manager of @opentelemetry/context-async-hooks, which does the same as the one here.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { channel, subscribe } from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  context,
  trace,
  type Attributes,
  type Context,
  type ContextManager,
  type Meter,
  type Span,
  type Tracer,
} from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import {
  StreamServer,
  connect,
  type ConnectMessage,
  type HandshakeMessage,
  type LimitMessage,
  type OperationMessage,
  type TimeoutMessage,
} from 'sluice';

// ---------------------------------------------------------------------------------------------- spans

/** The context of OpenTelemetry, which says which span is the parent of a new one. */
const contexts = new AsyncLocalStorage<Context>();

const manager: ContextManager = {
  active: () => contexts.getStore() ?? ROOT_CONTEXT,
  with: (active, run, self, ...args) => contexts.run(active, () => run.apply(self, args)),
  bind: (active, target) => {
    if (typeof target !== 'function') return target;
    const run = target as unknown as (...args: unknown[]) => unknown;
    return ((...args: unknown[]) => contexts.run(active, run, ...args)) as typeof target;
  },
  enable: () => manager,
  disable: () => manager,
};

/** The attributes of OpenTelemetry, by their names in the messages of sluice. */
const ATTRIBUTES: Readonly<Record<string, string>> = {
  networkTransport: 'network.transport',
  networkType: 'network.type',
  peerAddress: 'network.peer.address',
  peerPort: 'network.peer.port',
  localAddress: 'network.local.address',
  localPort: 'network.local.port',
  serverAddress: 'server.address',
  serverPort: 'server.port',
  clientAddress: 'client.address',
  clientPort: 'client.port',
  tlsProtocolVersion: 'tls.protocol.version',
  tlsCipher: 'tls.cipher',
  tlsNextProtocol: 'tls.next_protocol',
  tlsServerName: 'tls.client.server_name',
  errorType: 'error.type',
};

function attributesOf(message: object): Attributes {
  const attributes: Attributes = {};
  for (const [name, value] of Object.entries(message)) {
    const known = ATTRIBUTES[name];
    if (known !== undefined) attributes[known] = value as string | number;
  }
  return attributes;
}

/** Makes a span for each operation of a tracing channel. While the operation runs, it is the parent of new spans. */
function traceOperation(
  tracer: Tracer,
  channelName: string,
  begin: (message: unknown) => { name: string; kind: SpanKind },
): void {
  const spans = new WeakMap<object, Span>();
  channel(`tracing:${channelName}:start`).bindStore(contexts, (message) => {
    const { name, kind } = begin(message);
    const span = tracer.startSpan(name, { kind, attributes: attributesOf(message as object) });
    spans.set(message as object, span);
    return trace.setSpan(context.active(), span);
  });
  subscribe(`tracing:${channelName}:asyncEnd`, (message) => {
    const span = spans.get(message as object);
    if (span === undefined) return;
    const { error } = message as OperationMessage;
    span.setAttributes(attributesOf(message as object));
    if (error !== undefined) {
      span.recordException(error instanceof Error ? error : inspect(error));
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
    span.end();
  });
}

function traceSluice(tracer: Tracer): void {
  traceOperation(tracer, 'sluice:connect', (message) => {
    const { action, serverAddress } = message as ConnectMessage;
    return { name: serverAddress === undefined ? action : `${action} ${serverAddress}`, kind: SpanKind.CLIENT };
  });
  traceOperation(tracer, 'sluice:handshake', (message) => {
    const { side } = message as HandshakeMessage;
    return { name: 'TLS handshake', kind: side === 'client' ? SpanKind.CLIENT : SpanKind.SERVER };
  });
  traceOperation(tracer, 'sluice:handler', () => ({ name: 'handler', kind: SpanKind.SERVER }));
}

// ---------------------------------------------------------------------------------------------- metrics

function measureServer(meter: Meter, server: StreamServer): void {
  const connections = meter.createObservableUpDownCounter('sluice.server.connections', { unit: '{connection}' });
  const handlers = meter.createObservableUpDownCounter('sluice.server.handlers', { unit: '{handler}' });
  const accepted = meter.createObservableCounter('sluice.server.accepted', { unit: '{connection}' });
  const dropped = meter.createObservableCounter('sluice.server.dropped', { unit: '{connection}' });
  const io = meter.createObservableCounter('sluice.server.io', { unit: 'By' });
  meter.addBatchObservableCallback(
    (result) => {
      const stats = server.stats();
      result.observe(connections, stats.connections);
      result.observe(handlers, stats.handlers);
      result.observe(accepted, stats.accepted);
      for (const [reason, count] of Object.entries(stats.dropped)) {
        if (count > 0) result.observe(dropped, count, { 'sluice.drop.reason': reason });
      }
      result.observe(io, stats.bytesRead, { 'network.io.direction': 'receive' });
      result.observe(io, stats.bytesWritten, { 'network.io.direction': 'transmit' });
    },
    [connections, handlers, accepted, dropped, io],
  );
}

/** Counts what has no server: limits and timeouts of all streams. */
function countRefusals(meter: Meter): void {
  const timeouts = meter.createCounter('sluice.timeouts');
  subscribe('sluice:timeout', (message) => {
    const { option, errorType } = message as TimeoutMessage;
    timeouts.add(1, { 'sluice.option': option, 'error.type': errorType });
  });
  const limits = meter.createCounter('sluice.limits');
  subscribe('sluice:limit', (message) => {
    const { action, errorType } = message as LimitMessage;
    limits.add(1, { 'sluice.action': action, 'error.type': errorType });
  });
}

// ---------------------------------------------------------------------------------------------- a program to observe

const spans = new InMemorySpanExporter();
const tracers = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] });
context.setGlobalContextManager(manager);
trace.setGlobalTracerProvider(tracers);
const tracer = trace.getTracer('example');
traceSluice(tracer);

const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const meters = new MeterProvider({ readers: [new PeriodicExportingMetricReader({ exporter: metrics })] });
countRefusals(meters.getMeter('example'));

const server = new StreamServer(
  async (stream) => {
    for await (const line of stream.lines()) {
      // Its parent is the span of the handler, after any number of awaits.
      const work = tracer.startSpan('work', { attributes: { line } });
      await stream.write(`${line.toUpperCase()}\n`);
      work.end();
    }
  },
  '127.0.0.1',
  0,
  { maxConnections: 1, onError: () => {} },
);
await server.startServing();
measureServer(meters.getMeter('example'), server);
const { port } = server.sockets[0]?.address() as { port: number };

await tracer.startActiveSpan('job', async (job) => {
  const stream = await connect('127.0.0.1', port);
  await stream.write('hello\n');
  console.log((await stream.readline()).toString().trimEnd());
  await stream.readline({ timeout: 10 }).catch(() => {}); // counted as a timeout

  const refused = await connect('127.0.0.1', port); // the server allows one connection
  await refused.read().catch(() => {});
  await refused.close();

  await meters.forceFlush();
  await stream.close();
  job.end();
});
await server.close();
await connect('127.0.0.1', port).catch(() => {}); // nothing listens any more

// ---------------------------------------------------------------------------------------------- what was exported

for (const span of spans.getFinishedSpans()) {
  const { name, kind, attributes, status } = span;
  const ids = { id: span.spanContext().spanId, parent: span.parentSpanContext?.spanId ?? null };
  console.log(
    `span ${JSON.stringify({ name, kind: SpanKind[kind], status: SpanStatusCode[status.code], ...ids, attributes })}`,
  );
}
for (const { scopeMetrics } of metrics.getMetrics()) {
  for (const { descriptor, dataPoints } of scopeMetrics.flatMap((scope) => scope.metrics)) {
    for (const { value, attributes } of dataPoints) {
      console.log(`metric ${JSON.stringify({ name: descriptor.name, value, attributes })}`);
    }
  }
}
await Promise.all([tracers.shutdown(), meters.shutdown()]);
