/** The public names of sluice, nothing more. */
export type { WaitOptions } from './abort.js';
export { connect, type ConnectOptions, type ConnectSockOptions, type ConnectWebOptions } from './connect/connect.js';
export { connectReadPipe, connectWritePipe, type ConnectPipeOptions } from './connect/pipe.js';
export { streampair, type StreamPairOptions } from './connect/streampair.js';
export { connectUnix, type ConnectUnixOptions } from './connect/unix.js';
export type {
  ConnectMessage,
  ConnectionAttributes,
  DropReason,
  HandlerMessage,
  HandshakeMessage,
  LimitMessage,
  OperationMessage,
  ServerDropMessage,
  TimeoutMessage,
} from './diagnostics.js';
export { engine } from './buffer/engine.js';
export type { CustomFraming, Framing, LengthFraming, SizeFraming } from './buffer/framing.js';
export type { LengthType } from './buffer/lengths.js';
export type { Separators } from './buffer/separator.js';
export {
  ConnectionError,
  FrameError,
  IncompleteReadError,
  LimitOverrunError,
  StateError,
  TimeoutError,
  type AttemptError,
  type CodedError,
  type StateErrorCode,
  type TimeoutErrorCode,
} from './errors.js';
export { FrameLoop } from './reader/frame-loop.js';
export { Frames, type TextsOptions } from './reader/frames.js';
export type { LineEncoding } from './reader/decoding.js';
export { Lines, type LinesOptions } from './reader/lines.js';
/* eslint-disable @typescript-eslint/no-deprecated -- deprecated, but still exported */
export {
  openConnection,
  openUnixConnection,
  startServer,
  startUnixServer,
  type ClientConnectedCallback,
  type StartServingOptions,
  type StreamPair,
} from './legacy.js';
/* eslint-enable @typescript-eslint/no-deprecated */
export { StreamReader, type LimitOptions } from './reader/reader.js';
export {
  StreamServer,
  UnixStreamServer,
  type ClientHandler,
  type HandlerContext,
  type ServerErrorHandler,
  type StreamServerOptions,
  type UnixStreamServerOptions,
} from './server/server.js';
export type { AcceptHook, Peer } from './server/admission.js';
export type { BaseStreamServer } from './server/base-server.js';
export type { ServerCloseOptions, ServerCloseResult } from './server/drain.js';
export type { ServingOptions } from './server/options.js';
export type { ServerStats } from './server/stats.js';
export type { ProxyInfo, ProxyTlv } from './server/proxy-header.js';
export type { ProxyProtocolOptions, UnixProxyProtocolOptions } from './server/proxy-protocol.js';
export type { SendfileOptions, SendfileSource } from './stream/sendfile.js';
export type { StreamStats } from './stream/stats.js';
export { socketpair } from './transports/socketpair.js';
export { Stream, StreamMode, type StartTlsOptions } from './stream/stream.js';
export type { TimeoutOptions } from './stream/timeouts.js';
export type { ByteStreams } from './stream/to-web.js';
export type { ReadPipe, WritePipe } from './transports/pipe.js';
export type { WebReadable, WebStreams, WebWritable } from './transports/web.js';
export type { SocketAddress } from './transports/socket-info.js';
export type { ClientSsl, HandshakeOptions, ServerSsl } from './tls/options.js';
export type { Transport, TransportSink } from './transports/transport.js';
export { type CloseOptions, StreamWriter, type WriteBufferLimits, type WriteBufferOptions } from './writer/writer.js';
export type { Payload } from './writer/frame-encoder.js';
