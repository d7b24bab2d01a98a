/**
 * The tests that are left out on Bun and Deno, on Windows under Wine and on other processors under qemu, and why. `npm run
 * test:runtimes` compares this list with the results: a listed test that passes is a failure. A title that no test has is one, too;
 * `left-out.test.ts` finds it without those runtimes.
 */

export interface LeftOut {
  /** The test file: `socket` is `socket.test.ts`, in any folder of `__test__`. */
  readonly file: string;
  /** The titles of the tests; without them, the whole file. `(no test)` is an error outside of all tests. */
  readonly tests?: readonly string[];
  /** What the runtime does, or does not do. */
  readonly reason: string;
  /** True if it depends on the engine, on timing or on the machine: such a test may pass as well. */
  readonly unsteady?: true;
  /** True if the tests must not run at all, because they hang and others of the file wait for them. */
  readonly blocks?: true;
}

/** Tests that require a pipe to be a socket, or TLS over something else than a TCP socket. */
const upgradesOverPipes = [
  'a Unix socket: an upgrade of both sides: plain before, encrypted after',
  'two pipes: a certificate for another name closes the connection',
  'two pipes: one side may start the handshake long before the other',
  'two pipes: an upgrade of both sides: plain before, encrypted after',
  "two pipes: plain bytes after the answer close the client's side, and are never read",
  "two pipes: plain bytes after the command close the server's side, and are never read",
  'two pipes: plain bytes followed by EOF: reads reject, and do not end as at EOF',
  'two pipes: plain bytes during the handshake end it',
  'two pipes: a peer that ends during the handshake, or never starts it, is an error',
  'two pipes: earlier writes are sent in plain text first, by the client',
  'two pipes: earlier writes are sent in plain text first, by the server',
];

/** Tests that compare messages or codes of OpenSSL. */
const tlsErrors = [
  'a thrown error of ALPNCallback or pskCallback is reported; a refusal by ALPNCallback stays one',
  'a TLS 1.3 client refused for lack of a certificate gets the error from its reads and writes',
  'a forged record in a connection of TLSv1.2, to the client, is a typed error on both sides',
  'a forged record in a connection of TLSv1.2, to the server, is a typed error on both sides',
  'a forged record in a connection of TLSv1.3, to the client, is a typed error on both sides',
  'a forged record in a connection of TLSv1.3, to the server, is a typed error on both sides',
  'a pending drain rejects with the TLS error',
  'garbage in a connection of TLSv1.2, to the client, is a typed error on both sides',
  'garbage in a connection of TLSv1.2, to the server, is a typed error on both sides',
  'garbage in a connection of TLSv1.3, to the client, is a typed error on both sides',
  'garbage in a connection of TLSv1.3, to the server, is a typed error on both sides',
  'invalid options are refused with the call and the option, before anything is opened',
  'renegotiation is refused with a typed error that names the peer',
  'startTls of a server: invalid options leave the stream unchanged',
];

/** The pairs of sockets that run the contract of transports. */
const socketPairs = [
  'TCP, direct, to the server',
  'TCP, direct, to the client',
  'TCP, data, to the server',
  'TCP, data, to the client',
  'Duplex that is a socket',
];
const tlsPairs = [
  'TLS 1.3, to the server',
  'TLS 1.3, to the client',
  'TLS 1.2, to the server',
  'TLS after plain bytes',
];
const contractOfResets = (pair: string): string[] => [
  `${pair}: a reset is reported with its reason, after the bytes`,
  `${pair}: bytes that arrived before a reset are delivered although reading was paused`,
];

/** All tests of the contract of transports. */
const contract = [
  'bytes arrive in order, both ways',
  'bytes sent before start are not lost',
  'a batch of any number of pieces arrives completely',
  'bytes are read into the memory of the sink where supported, and none are lost',
  'after the sink returns false, no more bytes are delivered until resumeReading',
  'pauseReading stops the delivery of bytes, and EOF comes after them',
  'half-close ends one direction; the connection closes when both have ended',
  'a batch is pending while the peer does not read, and completes when it does',
  'close delivers the written bytes, then EOF, and is reported once, on a later turn',
  'close with unread bytes still delivers everything to the peer, without an error',
  'close completes although the peer never stops sending',
  'both sides may close at the same time',
  'close completes after a half-close, and after EOF from the peer',
  'abort drops a pending batch, and is reported once, on a later turn',
  'abort during close and close during abort are reported once',
  'close and abort before start are reported after start',
  'the sink may abort while it receives bytes',
  'pauseReading, resumeReading, write and writeEof do nothing after the end',
  'a sink that throws ends only its own connection',
  'random batches in both directions arrive unchanged while reading pauses and resumes',
  'abort reaches the peer',
  'writing to a peer that is gone ends the connection with the reason',
  'a reset is reported with its reason, after the bytes',
  'bytes that arrived before a reset are delivered although reading was paused',
];

/** What is left out under Wine begins with the name of the one to blame. */
const WINE_RESETS = 'Wine shuts a socket down before it resets it, so a reset can arrive as EOF';
const WINE_COMPLETION =
  'Wine: received bytes complete a read only after a round trip to its server process, so one poll does not show all of them';
const PIPE_FILES = 'Windows has no FIFOs';
const SOCKET_FILES = 'Windows: named pipes are not files';
const NO_HALF_CLOSE = 'Windows: named pipes have no half-close';
const PROGRESS = 'Windows does not report which part of a batch the kernel has accepted';

export const leftOut: Readonly<Record<'bun' | 'deno' | 'windows' | 'qemu', readonly LeftOut[]>> = {
  bun: [
    {
      file: 'diagnostics',
      tests: ['TCP', 'TLS', 'Unix'].map((kind) => `${kind}: timeouts of connections and of calls are reported`),
      reason: 'a read that waits when a timeout aborts the connection ends as at EOF',
    },
    {
      file: 'connect',
      tests: ['a resolver that returns no address is ENOTFOUND with the name, for connect, localAddr and bind'],
      reason: 'a test cannot replace functions of node:dns',
      unsteady: true,
    },
    {
      file: 'tls-client',
      tests: ['a dot at the end of a name is neither sent to the server nor compared with its certificate'],
      reason: 'a test cannot replace functions of node:dns',
      unsteady: true,
    },
    {
      file: 'stream',
      tests: ['writeBufferSize counts the bytes that the kernel has not taken, and inspect shows them as queued'],
      reason: 'net.Socket over the fd of a pipe reads nothing',
      unsteady: true,
    },
    {
      file: 'object-mode',
      tests: [
        'TLS over a Duplex in object mode, from the start and by startTls, on both sides',
        'an invalid chunk during the handshake ends the connection with an error',
      ],
      reason: 'TLS over a stream other than a TCP socket loses the first bytes',
      unsteady: true,
    },
    { file: 'server-side', reason: 'TLS over a stream other than a TCP socket loses the first bytes', unsteady: true },
    {
      file: 'asyncio-parity',
      tests: [
        'TLS: after close, getExtraInfo still works, writes reject and reads are at EOF',
        'sendfile over TLS: the file is sent between the writes before and after it',
        'sendfile over TLS: the peer may close once it has everything',
      ],
      reason: 'sendfile over TLS does not finish',
      unsteady: true,
    },
    {
      file: 'bench',
      tests: ['the runner does not wait for a program that ends without output', 'an interrupted run leaves no files'],
      reason: 'the runner of the benchmarks does not notice a program that prints nothing',
      unsteady: true,
    },
    {
      file: 'connect',
      tests: [
        'localAddr sets the local address and port',
        'the addresses of a name are tried until one connects; if none does, the error lists them all',
      ],
      reason: 'a test cannot replace functions of node:dns; the error message for an invalid localAddr differs',
    },
    { file: 'connect-pipe', reason: 'net.Socket over the fd of a pipe reads nothing', unsteady: true },
    {
      file: 'errors',
      tests: ['a reason can be any value'],
      reason: 'a getter that throws is called when an error is shown',
    },
    {
      file: 'examples-more',
      tests: ['child-process-lines reports a command that does not exist'],
      reason: 'the error message of a failed spawn differs',
    },
    {
      file: 'fd',
      tests: [
        'a connected socket cannot be a listener, and a TCP socket cannot be a Unix socket',
        'a datagram socket can be neither a stream nor a listener, and its fd stays open',
        'a listening socket, TCP or Unix, cannot be a stream',
        'an fd that this process uses already is refused with EEXIST',
      ],
      reason: 'net.Socket and net.Server accept any fd, and do not say what is wrong with it',
    },
    {
      file: 'fd',
      tests: ['(no test)'],
      reason: 'net.Socket and net.Server accept any fd, and do not say what is wrong with it',
      unsteady: true,
    },
    {
      file: 'guides',
      tests: ['the test in the guide prints what it shows'],
      reason: 'console.log prints objects in another format',
    },
    { file: 'happy-eyeballs-sockets', reason: 'a test cannot replace functions of node:dns' },
    {
      file: 'index',
      tests: ['the package has no other entry point'],
      reason: 'a path that is not exported has another error code',
    },
    {
      file: 'inherited',
      tests: [
        'a listening TCP socket: the server has its address, and accepts earlier and later connections',
        'a listening Unix socket: the server accepts earlier connections, and the file stays',
        'connected sockets, TCP and Unix, become streams',
        'other fds are refused with a typed error each, which names the fd',
      ],
      reason: 'net.Socket and net.Server over an inherited fd do not work',
    },
    {
      file: 'interop-openssl',
      tests: ['s_client: renegotiation is refused, and ends only that connection'],
      reason: 'renegotiation is not detected',
    },
    {
      file: 'left-out',
      tests: ['every entry of left-out.ts names a test file, and tests that this file has'],
      reason: 'module resolution cannot be customised as on Node',
      unsteady: true,
    },
    { file: 'pipe', reason: 'net.Socket over the fd of a pipe reads nothing', unsteady: true },
    {
      file: 'sendfile',
      tests: [
        '(no test)',
        'files that cannot be sent: the error says why, the stream stays usable, no fd is left open',
        'sendfile over TLS; around startTls, the order of the calls decides what is encrypted',
      ],
      reason: 'a closed file handle has another error code; rejections count as unhandled earlier',
      unsteady: true,
    },
    {
      file: 'server',
      tests: [
        'a waiting connection that broke is passed to the handler as a lost stream',
        'a peer that never stops sending gets back-pressure',
        'running out of file descriptors does not end the server',
      ],
      reason: 'a reset before accept, and exhausted fds, are not reported; more is read ahead',
      unsteady: true,
    },
    {
      file: 'server-ports',
      tests: [
        'an explicit port is tried once',
        'a privileged port without the privilege is one error that names host and port',
        'port 0: if every port is in use at the second host, one error names the last',
      ],
      reason: 'errors of bind carry no errno',
    },
    {
      file: 'slab',
      tests: ['a negative size throws, and the next result is fine'],
      reason: 'a view of a negative size is empty',
    },
    {
      file: 'socket',
      tests: [
        'TCP, direct, to the client: bytes that arrived before a reset are delivered although reading was paused',
        'accepted sockets: a peer that resets before the move is reported',
        'EOF that is followed by a reset is still EOF: data',
        'EOF that is followed by a reset is still EOF: direct',
        'unref lets the process end, ref keeps it alive',
      ],
      reason: 'a reset loses bytes that arrived before it, or is EOF; handles have no ref to check',
    },
    {
      file: 'start-tls-transports',
      tests: [...upgradesOverPipes, '(no test)'],
      reason:
        'net.Socket over the fd of a pipe reads nothing; TLS over a stream other than a TCP socket loses the first bytes',
      unsteady: true,
    },
    {
      file: 'tls',
      tests: [
        'garbage instead of a handshake is an error on that connection only',
        'renegotiation ends only its own connection, with an error',
      ],
      reason: 'error messages of BoringSSL differ, and renegotiation is not detected',
    },
    {
      file: 'tls-contract',
      tests: ['TLS after plain bytes: after the sink returns false, no more bytes are delivered until resumeReading'],
      reason: 'TLS that is paused and resumed stalls',
    },
    {
      file: 'tls-contract',
      tests: ['TLS 1.3, to the client: after the sink returns false, no more bytes are delivered until resumeReading'],
      reason: 'TLS that is paused and resumed stalls',
      unsteady: true,
    },
    {
      file: 'tls-contract-more',
      tests: [
        'TLS over a Duplex that is a socket: after the sink returns false, no more bytes are delivered until resumeReading',
      ],
      reason: 'TLS that is paused and resumed stalls',
      unsteady: true,
    },
    {
      file: 'tls-errors',
      tests: [...tlsErrors],
      reason: 'error messages of BoringSSL differ, and an error after the handshake may be EOF, or missing',
    },
    {
      file: 'unix-server',
      tests: [
        'a directory that does not exist is ENOENT',
        'of many processes that find a stale file, one gets the path',
        'sock can be the fd of a listening socket',
      ],
      reason: 'errors of bind carry no errno, and an inherited fd cannot be listened on',
      unsteady: true,
    },
    {
      file: 'socket',
      tests: [
        'TCP, direct, to the server: a batch is pending while the peer does not read, and completes when it does',
        'TCP, direct, to the client: a batch is pending while the peer does not read, and completes when it does',
        'TCP, data, to the server: a batch is pending while the peer does not read, and completes when it does',
        'TCP, data, to the client: a batch is pending while the peer does not read, and completes when it does',
        'Unix socket, direct: a batch is pending while the peer does not read, and completes when it does',
        'Unix socket, data: a batch is pending while the peer does not read, and completes when it does',
        'Duplex that is a socket: a batch is pending while the peer does not read, and completes when it does',
      ],
      reason: 'on a busy machine a write of megabytes had not completed when the peer had read it',
      unsteady: true,
    },
    { file: 'timeouts-transports', reason: 'net.Socket over the fd of a pipe reads nothing', unsteady: true },
    {
      file: 'attacks-connections',
      tests: ['descriptors that are used up are given back'],
      reason: 'exhausted fds are not reported',
      unsteady: true,
    },
    {
      file: 'attacks-slow',
      tests: [
        '1,000 connections that say nothing end after idleTimeout',
        '1,000 connections whose lines drip in end after readTimeout, however they drip',
      ],
      reason: 'more memory is kept after the connections',
      unsteady: true,
    },
    {
      file: 'drain',
      tests: [
        'TCP: a connection whose reading back-pressure has paused is served to its last request',
        'TLS: a connection whose reading back-pressure has paused is served to its last request',
        'Unix: a connection whose reading back-pressure has paused is served to its last request',
      ],
      reason: 'more is read ahead, so that back-pressure does not pause reading',
      unsteady: true,
    },
    {
      file: 'proxy-protocol',
      tests: [
        'close() in the moment between the header and the handler ends the connection',
        'version 1: header and data may be cut anywhere, and the handler receives exactly the data',
        'version 2: header and data may be cut anywhere, and the handler receives exactly the data',
      ],
      reason:
        "accepted sockets are read through 'data' events, and the name of a function is not in the stack of its call",
      unsteady: true,
    },
    {
      file: 'server-timeouts',
      tests: ['a timeout is reported once, whatever the handler makes of it'],
      reason: 'another error of a handler after a timeout was not reported, for an unknown reason',
      unsteady: true,
    },
    {
      file: 'drain',
      tests: [
        'TCP: a restart under load loses no answer to a request that was received',
        'Unix: a restart under load loses no answer to a request that was received',
        'TLS: a restart under load loses no answer to a request that was received',
      ],
      reason: 'on a busy machine the test does not pass, for an unknown reason',
      unsteady: true,
    },
  ],
  deno: [
    {
      file: 'to-duplex',
      tests: ['TLS 1.3', 'TLS 1.2'].flatMap((kind) => [
        `${kind}: a pipeline through two duplexes carries every byte in both directions`,
        `${kind}: a reader that is paused stops the peer`,
        `${kind}: a writer that waits for 'drain' buffers a bounded number of bytes`,
      ]),
      reason: 'over TLS, reading that was paused does not always resume',
      blocks: true,
    },
    {
      file: 'to-web',
      tests: ['TLS 1.3', 'TLS 1.2'].flatMap((kind) => [
        `${kind}: a readable that is not read stops the peer`,
        `${kind}: a writer that does not wait sees desiredSize fall, and waits for a peer that does not read`,
      ]),
      reason: 'over TLS, reading that was paused does not always resume',
      blocks: true,
    },
    {
      file: 'to-web',
      tests: ['a reader that is released while it waits loses no bytes'],
      reason: 'a byte stream does not pass on what arrives after its BYOB reader was released',
      blocks: true,
    },
    {
      file: 'to-duplex-users',
      tests: ['an http.Agent connects by duplexes, and an http.Server serves them; keepAlive: true'],
      reason: 'an http.Agent does not use the duplex for a second request',
      blocks: true,
    },
    {
      file: 'detach',
      tests: ['a plain stream that was detached can be encrypted by Node'],
      reason: 'TLS is not stacked on the handle, whose reads still go to the option onread',
      blocks: true,
    },
    {
      file: 'contexts',
      tests: ['a store that is bound to sluice:connect is seen during the connect only'],
      reason: 'checkServerIdentity is not called in the context of the connect',
    },
    {
      file: 'stats',
      tests: ['TLS: server.stats() counts the bytes of a stream that the handler has left open'],
      reason: 'a server does not see that a client of node:tls has broken the connection',
    },
    {
      file: 'diagnostics',
      tests: ['a connection that the net.Server of sock refuses is reported without a peer'],
      reason: 'a net.Server does not report the connections that it refuses',
    },
    {
      file: 'streampair',
      tests: ['a pair that is left open lets the process end'],
      reason: 'it starts a child process with options of Node',
    },
    {
      file: 'connect',
      tests: ['a resolver that returns no address is ENOTFOUND with the name, for connect, localAddr and bind'],
      reason: 'a test cannot replace functions of node:dns',
      unsteady: true,
    },
    {
      file: 'tls-client',
      tests: ['a dot at the end of a name is neither sent to the server nor compared with its certificate'],
      reason: 'a test cannot replace functions of node:dns',
      unsteady: true,
    },
    {
      file: 'stream',
      tests: ['writeBufferSize counts the bytes that the kernel has not taken, and inspect shows them as queued'],
      reason: 'net.Socket over the fd of a pipe reads nothing',
      unsteady: true,
    },
    {
      file: 'object-mode',
      tests: [
        'TLS over a Duplex in object mode, from the start and by startTls, on both sides',
        'an invalid chunk during the handshake ends the connection with an error',
      ],
      reason: 'TLS over a stream other than a TCP socket loses the first bytes',
      unsteady: true,
    },
    { file: 'server-side', reason: 'TLS over a stream other than a TCP socket loses the first bytes', unsteady: true },
    {
      file: 'asyncio-parity',
      tests: [
        'TLS: after close, getExtraInfo still works, writes reject and reads are at EOF',
        'sendfile over TLS: the file is sent between the writes before and after it',
        'sendfile over TLS: the peer may close once it has everything',
      ],
      reason: 'sendfile over TLS does not finish',
      unsteady: true,
    },
    {
      file: 'asyncio-parity-unix',
      tests: ['a stale socket file is replaced; a live one, or a file that is not a socket, is not'],
      reason: 'JavaScript passed as a string is not run as a module',
    },
    {
      file: 'bench',
      tests: [
        'an interrupted run leaves no files',
        'every available contender answers correctly, and the last line is the whole result',
      ],
      reason: 'the contenders are started with flags of Node',
    },
    {
      file: 'connect',
      tests: [
        'TCP_NODELAY is on and SO_KEEPALIVE off by default, on both sides',
        'localAddr sets the local address and port',
        'the addresses of a name are tried until one connects; if none does, the error lists them all',
      ],
      reason: 'a test cannot replace functions of node:dns, and socket options are set in another way',
    },
    {
      file: 'connect-pipe',
      tests: [
        '1: closing the stream flushes it and leaves standard output open',
        'a broken standard output rejects, and does not end the process',
        'write and drain wait while a pipe is full, and resolve when it is read',
        'bytes and EOF pass through a named pipe',
        'a reader that goes away rejects the pending write and drain with EPIPE',
        'fd 0 can be a socket',
        'the fds of a terminal can be read and written',
        'a connected Unix socket can be a read pipe',
        'close of a read pipe resolves while the writer is open, whose next write fails',
        'a closed stream over process.stdin does not keep the process alive',
        'many streams over standard output cause no leak warning, and leave no listener',
        'a process that writes to a pipe waits while its stream is not read, and no data is lost',
        'process.stdout: closing the stream flushes it and leaves standard output open',
        'standard output may be a file, its fd may not',
        'a read pipe refuses writes, and a write pipe refuses reads',
      ],
      reason:
        'an fd that node:fs has opened cannot be given to net.Socket, and children are started with flags of Node',
    },
    {
      file: 'connect-pipe',
      tests: ['(no test)'],
      reason:
        'an fd that node:fs has opened cannot be given to net.Socket, and children are started with flags of Node',
      unsteady: true,
    },
    {
      file: 'connect-unix',
      tests: ['a signal rejects before and while connecting, and has no effect afterwards'],
      reason: 'on a busy machine a signal arrived too late',
      unsteady: true,
    },
    {
      file: 'engine',
      tests: ['SLUICE_ENGINE selects the engine of a process'],
      reason: 'children are started with flags of Node',
    },
    {
      file: 'errors',
      tests: ['a reason can be any value'],
      reason: 'a getter that throws is called when an error is shown',
    },
    {
      file: 'examples',
      tests: [
        'serve-file is interrupted by Ctrl-C at once',
        'the echo client gets its message back from the echo server',
        'the echo server stops on SIGTERM with a client still connected',
      ],
      reason: 'a program that is done, or receives a signal, ends by a signal',
    },
    {
      file: 'examples-more',
      tests: [
        'http-headers refuses an untrusted certificate',
        'starttls: a certificate for another name is refused',
        'starttls: a request is refused in plain text, and answered after encryption on the same stream',
      ],
      reason: 'error messages of rustls differ',
    },
    {
      file: 'fd',
      tests: [
        'a connected socket cannot be a listener, and a TCP socket cannot be a Unix socket',
        'a datagram socket can be neither a stream nor a listener, and its fd stays open',
        'a listening socket, TCP or Unix, cannot be a stream',
        'an fd that this process uses already is refused with EEXIST',
      ],
      reason: 'an fd in use has other error codes, and children are started with flags of Node',
    },
    {
      file: 'fd',
      tests: ['(no test)'],
      reason: 'an fd in use has other error codes, and children are started with flags of Node',
      unsteady: true,
    },
    {
      file: 'frames-transports',
      tests: [
        'TLS: frames do not change while more data arrives',
        'TLS: alternating lines and batches of lines return every line of the data',
      ],
      reason: 'TLS that is paused and resumed stalls',
    },
    {
      file: 'guides',
      tests: ['the test in the guide prints what it shows'],
      reason: 'console.log prints objects in another format',
    },
    {
      file: 'guides',
      tests: ['the server stops on SIGTERM'],
      reason: 'a program that is done, or receives a signal, ends by a signal',
    },
    {
      file: 'happy-eyeballs-sockets',
      reason: 'a test cannot replace functions of node:dns, and children are started with flags of Node',
    },
    {
      file: 'index',
      tests: [
        'importing the package starts nothing, prints nothing and leaves the process unchanged',
        'the package has no other entry point',
      ],
      reason: 'a path that is not exported has another error code, and children are started with flags of Node',
    },
    {
      file: 'inherited',
      tests: [
        'a listening TCP socket: the server has its address, and accepts earlier and later connections',
        'a listening Unix socket: the server accepts earlier connections, and the file stays',
        'connected sockets, TCP and Unix, become streams',
        'other fds are refused with a typed error each, which names the fd',
      ],
      reason: 'an inherited fd cannot be given to net.Socket or net.Server',
    },
    {
      file: 'interop-openssl',
      tests: ['s_server: invalid certificates are refused, each with its reason'],
      reason: 'error messages of rustls differ',
    },
    {
      file: 'left-out',
      tests: ['every entry of left-out.ts names a test file, and tests that this file has'],
      reason: 'module resolution cannot be customised as on Node',
      unsteady: true,
    },
    {
      file: 'legacy',
      tests: ['each function warns once per process, with its own code'],
      reason: 'children are started with flags of Node',
    },
    {
      file: 'native',
      tests: [
        'a binary that lacks functions is ignored',
        'a package of another version is ignored, and its binary is not loaded',
        'a SLUICE_ENGINE value that names no engine is an error',
        "in a bundle, which is part of another package, that package's binaries are not loaded",
        'of the packages for the two C libraries, the one that loads is used',
        'SLUICE_ENGINE=native without a loadable binary is one error that lists every cause',
        "the platform's package is tried after a local build, and not touched if the TypeScript engine is forced",
        'without a binary the TypeScript engine is used, and SLUICE_DEBUG prints why',
      ],
      reason: 'children are started with flags of Node',
    },
    {
      file: 'permissions',
      tests: ['no code is generated from strings'],
      reason: 'children are started with flags of Node',
    },
    {
      file: 'pipe',
      tests: [
        'process.stdin is read into reused memory unless SLUICE_READS forbids it: direct',
        'process.stdin is read into reused memory unless SLUICE_READS forbids it: data',
      ],
      reason: 'the child is started with flags of Node',
    },
    {
      file: 'pipe',
      tests: [
        'a pair of pipes, data reads: a batch of any number of pieces arrives completely',
        'a pair of pipes, data reads: a batch is pending while the peer does not read, and completes when it does',
        'a pair of pipes, data reads: after the sink returns false, no more bytes are delivered until resumeReading',
        'a pair of pipes, data reads: bytes that arrived before a reset are delivered although reading was paused',
        'a pair of pipes, data reads: a reset is reported with its reason, after the bytes',
        'a pair of pipes, data reads: a sink that throws ends only its own connection',
        'a pair of pipes, data reads: abort during close and close during abort are reported once',
        'a pair of pipes, data reads: the sink may abort while it receives bytes',
        'a pair of pipes, data reads: abort reaches the peer',
        'a pair of pipes, data reads: abort drops a pending batch, and is reported once, on a later turn',
        'a pair of pipes, data reads: bytes arrive in order, both ways',
        'a pair of pipes, data reads: bytes sent before start are not lost',
        'a pair of pipes, data reads: close completes after a half-close, and after EOF from the peer',
        'a pair of pipes, data reads: close and abort before start are reported after start',
        'a pair of pipes, data reads: close completes although the peer never stops sending',
        'a pair of pipes, data reads: both sides may close at the same time',
        'a pair of pipes, data reads: close with unread bytes still delivers everything to the peer, without an error',
        'a pair of pipes, data reads: close delivers the written bytes, then EOF, and is reported once, on a later turn',
        'a pair of pipes, data reads: half-close ends one direction; the connection closes when both have ended',
        'a pair of pipes, data reads: random batches in both directions arrive unchanged while reading pauses and resumes',
        'a pair of pipes, data reads: bytes are read into the memory of the sink where supported, and none are lost',
        'a pair of pipes, data reads: pauseReading, resumeReading, write and writeEof do nothing after the end',
        'a pair of pipes, data reads: pauseReading stops the delivery of bytes, and EOF comes after them',
        'a pair of pipes, data reads: writing to a peer that is gone ends the connection with the reason',
        'a pair of pipes, direct reads: a batch of any number of pieces arrives completely',
        'a pair of pipes, direct reads: a batch is pending while the peer does not read, and completes when it does',
        'a pair of pipes, direct reads: after the sink returns false, no more bytes are delivered until resumeReading',
        'a pair of pipes, direct reads: bytes that arrived before a reset are delivered although reading was paused',
        'a pair of pipes, direct reads: a reset is reported with its reason, after the bytes',
        'a pair of pipes, direct reads: a sink that throws ends only its own connection',
        'a pair of pipes, direct reads: abort during close and close during abort are reported once',
        'a pair of pipes, direct reads: the sink may abort while it receives bytes',
        'a pair of pipes, direct reads: abort reaches the peer',
        'a pair of pipes, direct reads: abort drops a pending batch, and is reported once, on a later turn',
        'a pair of pipes, direct reads: bytes arrive in order, both ways',
        'a pair of pipes, direct reads: bytes sent before start are not lost',
        'a pair of pipes, direct reads: close completes after a half-close, and after EOF from the peer',
        'a pair of pipes, direct reads: close and abort before start are reported after start',
        'a pair of pipes, direct reads: close completes although the peer never stops sending',
        'a pair of pipes, direct reads: both sides may close at the same time',
        'a pair of pipes, direct reads: close with unread bytes still delivers everything to the peer, without an error',
        'a pair of pipes, direct reads: close delivers the written bytes, then EOF, and is reported once, on a later turn',
        'a pair of pipes, direct reads: half-close ends one direction; the connection closes when both have ended',
        'a pair of pipes, direct reads: random batches in both directions arrive unchanged while reading pauses and resumes',
        'a pair of pipes, direct reads: bytes are read into the memory of the sink where supported, and none are lost',
        'a pair of pipes, direct reads: pauseReading, resumeReading, write and writeEof do nothing after the end',
        'a pair of pipes, direct reads: pauseReading stops the delivery of bytes, and EOF comes after them',
        'a pair of pipes, direct reads: writing to a peer that is gone ends the connection with the reason',
        'a pair of fds carries bytes and EOF in one direction, and is then closed',
        'a datagram socket is not a pipe',
        'the wrong end of a pipe is refused before anything is made of it',
      ],
      reason: 'an fd that node:fs has opened cannot be given to net.Socket',
    },
    {
      file: 'reader-model',
      tests: [
        'any reads of any chunks, fed as by a transport, return what the model returns',
        'any reads of any chunks, fed by feedData, return what the model returns',
      ],
      reason: 'on a busy machine it takes longer than the time limit',
      unsteady: true,
    },
    {
      file: 'sendfile',
      tests: [
        '(no test)',
        'sendfile sends every byte of a large file after earlier writes, in constant memory, and leaves no fd open',
        'files that cannot be sent: the error says why, the stream stays usable, no fd is left open',
        'sendfile over TLS; around startTls, the order of the calls decides what is encrypted',
        'without the binary the position is moved forward only',
      ],
      reason: 'sendfile over TLS does not finish; children are started with flags of Node',
      unsteady: true,
    },
    {
      file: 'server',
      tests: [
        'peers that reset at any moment do not end the process',
        'running out of file descriptors does not end the server',
        'the process ends by itself once the server and its clients are closed',
        'without a host the server listens on all interfaces',
        "a host of undefined, null, '' or a list with null means every interface, with and without TLS",
      ],
      reason: 'dual-stack listening is not restricted to IPv6, and children are started with flags of Node',
    },
    {
      file: 'server-options',
      tests: [
        'an unavailable address is one typed error, and nothing stays bound',
        'without a host, the server listens on IPv4 and IPv6 on one port; family selects one',
      ],
      reason: 'dual-stack listening is not restricted to IPv6, and an address that the machine does not have is EINVAL',
    },
    {
      file: 'server-ports',
      tests: ['a privileged port without the privilege is one error that names host and port'],
      reason: 'children are started with flags of Node',
    },
    {
      file: 'socket',
      tests: [
        'accepted sockets: maxConnections still counts them',
        "over a user's socket: its buffered bytes come first, and it stays half-open after EOF",
        'unref lets the process end, ref keeps it alive',
      ],
      reason:
        "maxConnections is not enforced, handles have no ref to check, and a user's socket that was read cannot be read further",
    },
    {
      file: 'socket',
      tests: [
        'close: a peer that keeps sending and reads late gets everything that was sent: data',
        'close: a peer that keeps sending and reads late gets everything that was sent: direct',
      ],
      reason:
        "maxConnections is not enforced, handles have no ref to check, and a user's socket that was read cannot be read further",
      unsteady: true,
    },
    {
      file: 'start-tls',
      tests: ['a failed handshake closes the socket and rejects with the reason'],
      reason: 'error messages of rustls differ',
    },
    {
      file: 'start-tls-transports',
      tests: [...upgradesOverPipes, 'a Duplex: an upgrade of both sides: plain before, encrypted after'],
      reason:
        'an fd that node:fs has opened cannot be given to net.Socket; TLS over a Unix socket waits for bytes that have arrived',
      unsteady: true,
    },
    {
      file: 'tls',
      tests: [
        'SNI: a name is sent and checked, an address is checked but not sent; ALPN is negotiated',
        'an untrusted certificate is a typed error, and the server continues',
        'a process whose handshakes failed in several ways ends by itself',
        'garbage instead of a handshake is an error on that connection only',
        'renegotiation ends only its own connection, with an error',
        'invalid options are refused before anything is opened',
      ],
      reason: 'error messages of rustls differ, and options are checked only when they are used',
    },
    {
      file: 'tls-client',
      tests: [
        'TLSv1.2: data and EOF that arrive right after the handshake are not lost',
        'a reader that pauses and resumes gets every byte, in order',
        'the certificate must match serverHostname, not the address of the connection',
      ],
      reason: 'TLS that is paused and resumed stalls, and a missing servername is null',
    },
    {
      file: 'tls-contract',
      tests: [
        'TLS 1.2, to the server: after the sink returns false, no more bytes are delivered until resumeReading',
        'TLS 1.2, to the server: bytes that arrived before a reset are delivered although reading was paused',
        'TLS 1.2, to the server: a reset is reported with its reason, after the bytes',
        'TLS 1.3, to the client: after the sink returns false, no more bytes are delivered until resumeReading',
        'TLS 1.3, to the client: bytes that arrived before a reset are delivered although reading was paused',
        'TLS 1.3, to the client: a reset is reported with its reason, after the bytes',
        'TLS 1.3, to the server: after the sink returns false, no more bytes are delivered until resumeReading',
        'TLS 1.3, to the server: bytes that arrived before a reset are delivered although reading was paused',
        'TLS 1.3, to the server: a reset is reported with its reason, after the bytes',
        'TLS after plain bytes: after the sink returns false, no more bytes are delivered until resumeReading',
        'TLS after plain bytes: bytes that arrived before a reset are delivered although reading was paused',
        'TLS after plain bytes: a reset is reported with its reason, after the bytes',
      ],
      reason: 'TLS that is paused and resumed stalls, and a reset meanwhile is not reported',
    },
    {
      file: 'tls-contract',
      tests: [
        'TLS 1.2, to the server: random batches in both directions arrive unchanged while reading pauses and resumes',
        'TLS 1.3, to the client: random batches in both directions arrive unchanged while reading pauses and resumes',
        'TLS 1.3, to the server: random batches in both directions arrive unchanged while reading pauses and resumes',
        'TLS after plain bytes: random batches in both directions arrive unchanged while reading pauses and resumes',
      ],
      reason: 'TLS that is paused and resumed mostly stalls',
      unsteady: true,
    },
    {
      file: 'tls-contract-more',
      tests: [
        'TLS over a Duplex that is a socket: after the sink returns false, no more bytes are delivered until resumeReading',
        'TLS over a Duplex that is a socket: bytes that arrived before a reset are delivered although reading was paused',
        'TLS over a Duplex that is a socket: a reset is reported with its reason, after the bytes',
      ],
      reason: 'TLS that is paused and resumed stalls, and a reset meanwhile is not reported',
    },
    {
      file: 'tls-contract-more',
      tests: [
        'TLS over a Duplex that is a socket: random batches in both directions arrive unchanged while reading pauses and resumes',
      ],
      reason: 'TLS that is paused and resumed mostly stalls',
      unsteady: true,
    },
    {
      file: 'tls-errors',
      tests: [
        ...tlsErrors,
        'a reset after the handshake is reported as without TLS',
        'an SNICallback that passes an error is reported by the server',
        'an SNICallback that passes an error later is reported by the server',
        'an SNICallback that passes a string is reported by the server',
        'an SNICallback that passes an error with a code is reported by the server',
        'an SNICallback that throws is reported by the server',
      ],
      reason: 'error messages of rustls differ, and callbacks of OpenSSL are not called',
    },
    {
      file: 'tls-errors',
      tests: ['(no test)'],
      reason: 'error messages of rustls differ, and callbacks of OpenSSL are not called',
      unsteady: true,
    },
    {
      file: 'unix-server',
      tests: [
        'a relative path is removed even if the working directory has changed',
        'a stale file is replaced',
        'an abstract name has no file, and can be used by one server',
        'of many processes that find a stale file, one gets the path',
        'of many servers that find a stale file, one gets the path and keeps it',
        'sock can be the fd of a listening socket',
      ],
      reason: 'children are started with flags of Node, and binding to a path in use is not refused',
    },
    {
      file: 'attacks-connections',
      reason: 'bounds on memory and time are those of Node, and children are started with its flags',
      unsteady: true,
    },
    {
      file: 'attacks-data',
      reason: 'bounds on memory and time are those of Node, and children are started with its flags',
      unsteady: true,
    },
    {
      file: 'attacks-flood',
      reason: 'bounds on memory and time are those of Node, and children are started with its flags',
      unsteady: true,
    },
    {
      file: 'attacks-proxy',
      reason: 'bounds on memory and time are those of Node, and children are started with its flags',
      unsteady: true,
    },
    {
      file: 'attacks-slow',
      reason: 'bounds on memory and time are those of Node, and children are started with its flags',
      unsteady: true,
    },
    {
      file: 'attacks-unread',
      reason: 'bounds on memory and time are those of Node, and children are started with its flags',
      unsteady: true,
    },
    {
      file: 'drain',
      tests: [
        '(no test)',
        'TCP with an accept hook: connections that the kernel has queued are served, and later ones are refused',
        'TCP: a restart under load loses no answer to a request that was received',
        'TCP: bytes that the kernel has received when the close begins count as received',
        'TCP: connections of a plain function, which has returned, are closed when they are idle',
        'TCP: connections that the kernel has queued are served, and later ones are refused',
        'TLS: a restart under load loses no answer to a request that was received',
        'TLS: bytes that the kernel has received when the close begins count as received',
        'TLS: connections of a plain function, which has returned, are closed when they are idle',
        'Unix: a restart under load loses no answer to a request that was received',
        'Unix: bytes that the kernel has received when the close begins count as received',
        'Unix: connections of a plain function, which has returned, are closed when they are idle',
        'Unix: connections that the kernel has queued are served, and later ones are refused',
        'a connection that maxAge ends while its handler is at work counts as cut off',
        'a handler that rejects because of draining is not reported, and what it has written is sent',
      ],
      reason:
        'a poll for input may come only after 61 immediates, so that what the kernel has received, or queued, is not seen; a cancelled once() rejects with another error',
      unsteady: true,
    },
    {
      file: 'examples-cores',
      tests: [
        'all-cores stops when it is told to while it restarts workers',
        'all-cores: a worker that cannot start is tried again after longer and longer pauses',
        'all-cores: a worker that is killed is replaced, and the other one goes on',
        'all-cores: clients that send requests while the workers are replaced lose no answer',
      ],
      reason: 'the workers of node:cluster do not end as on Node',
      unsteady: true,
    },
    {
      file: 'max-write-buffer',
      tests: [
        'TLS: a broadcast from outside the handler is reported once, while the handler waits in a read',
        'TLS: an overflow is reported once if the handler has returned, or ignores it',
        'TLS: in a fan-out the clients that do not read are cut off, and all others receive everything',
      ],
      reason: 'TLS accepts any amount of data for a peer that does not read',
      unsteady: true,
    },
    {
      file: 'proxy-protocol',
      tests: [
        'a connection that closes without a byte is neither reported nor passed to the handler',
        'a process that was busy for longer than the timeout still finds the header that arrived meanwhile',
      ],
      reason: 'what the kernel has received by the end of a timeout is not seen',
      unsteady: true,
    },
    {
      file: 'running-guide',
      tests: [
        'a second signal stops the server at once',
        'the certificate is exchanged while the server runs',
        'the server answers what it has received, and stops',
      ],
      reason:
        'what the kernel has received when the close begins is not seen, and signals end the process in another way',
      unsteady: true,
    },
    {
      file: 'server-timeouts',
      tests: [
        'a client that reads nothing is cut off and reported once (TLS)',
        'a client that reads nothing is cut off and reported once (Unix)',
      ],
      reason: 'on a busy machine a write had completed although the peer read nothing; TLS accepts any amount of data',
      unsteady: true,
    },
    {
      file: 'server-warnings',
      tests: ['three hundred resets are a few lines on standard error that add up, and the process ends'],
      reason: 'JavaScript passed as a string is not run as a module',
      unsteady: true,
    },
    {
      file: 'set-secure-context',
      tests: [
        'a session of the previous certificate is not resumed with the new one',
        'refused options leave the previous certificate in use',
      ],
      reason: 'options are checked only when they are used, and session tickets differ',
      unsteady: true,
    },
    {
      file: 'timeouts',
      tests: [
        'a process ends without waiting for the timeouts of calls that have finished, and not before those that wait',
      ],
      reason: 'JavaScript passed as a string is not run as a module',
      unsteady: true,
    },
    {
      file: 'timeouts-transports',
      tests: [
        'a stream without timeouts gets them by setTimeouts',
        'idleTimeout ends a connection without bytes: FIFO to read',
        'idleTimeout ends a connection without bytes: FIFO to write',
        'writeTimeout ends a connection whose peer accepts nothing: FIFO to write',
      ],
      reason: 'a descriptor that was opened with node:fs cannot become a pipe',
      unsteady: true,
    },
  ],
  windows: [
    {
      file: 'attacks-connections',
      reason: 'Wine: thousands of connections take minutes, and their memory is measured',
      unsteady: true,
    },
    {
      file: 'attacks-data',
      reason: 'Wine: thousands of connections take minutes, and their memory is measured',
      unsteady: true,
    },
    {
      file: 'attacks-flood',
      reason: 'Wine: thousands of connections take minutes, and their memory is measured',
      unsteady: true,
    },
    {
      file: 'attacks-proxy',
      reason: 'Wine: thousands of connections take minutes, and their memory is measured',
      unsteady: true,
    },
    {
      file: 'attacks-slow',
      reason: 'Wine: thousands of connections take minutes, and their memory is measured',
      unsteady: true,
    },
    {
      file: 'attacks-unread',
      reason: 'Wine: thousands of connections take minutes, and their memory is measured',
      unsteady: true,
    },
    {
      file: 'close-bounds',
      tests: [
        'tcp, client: a peer that reads slowly gets everything although that takes longer than closeTimeout',
        'tcp, server: a peer that reads slowly gets everything although that takes longer than closeTimeout',
        'tls, client: a peer that reads slowly gets everything although that takes longer than closeTimeout',
        'tls, server: a peer that reads slowly gets everything although that takes longer than closeTimeout',
        'startTls, client: a peer that reads slowly gets everything although that takes longer than closeTimeout',
        'startTls, server: a peer that reads slowly gets everything although that takes longer than closeTimeout',
      ],
      reason: PROGRESS,
    },
    {
      file: 'close-bounds',
      tests: [
        'unix, client: a peer that reads slowly gets everything although that takes longer than closeTimeout',
        'unix, client: close with a peer that reads nothing and keeps its side open takes about a second',
        'unix, server: a peer that reads slowly gets everything although that takes longer than closeTimeout',
        'unix, server: close with a peer that reads nothing and keeps its side open takes about a second',
      ],
      reason:
        'Windows: a named pipe is not closed before its peer has read everything, and a peer that reads gets everything at once',
      unsteady: true,
      blocks: true,
    },
    {
      file: 'connect-pipe',
      tests: [
        'bytes and EOF pass through a named pipe',
        'write and drain wait while a pipe is full, and resolve when it is read',
        'a reader that goes away rejects the pending write and drain with EPIPE',
        'fs streams of a named pipe are accepted',
        'invalid arguments reject, and the fd is left unchanged',
        'a read pipe refuses writes, and a write pipe refuses reads',
        'close of a read pipe resolves while the writer is open, whose next write fails',
      ],
      reason: PIPE_FILES,
    },
    {
      file: 'connect-unix',
      tests: [
        'no such file, no listener, or a file that is not a socket: one error that names the path',
        'the longest path works; one more byte is refused with both numbers',
      ],
      reason: SOCKET_FILES,
    },
    {
      file: 'connect-unix',
      tests: [
        'a Unix socket from connectUnix: half-close ends one direction; the connection closes when both have ended',
      ],
      reason: NO_HALF_CLOSE,
      blocks: true,
    },
    {
      file: 'drain',
      tests: [
        'TCP: bytes that the kernel has received when the close begins count as received',
        'TCP: connections of a plain function, which has returned, are closed when they are idle',
        'TLS: bytes that the kernel has received when the close begins count as received',
        'TLS: connections of a plain function, which has returned, are closed when they are idle',
        'Unix: bytes that the kernel has received when the close begins count as received',
        'Unix: connections of a plain function, which has returned, are closed when they are idle',
        'TCP: connections that the kernel has queued are served, and later ones are refused',
        'Unix: connections that the kernel has queued are served, and later ones are refused',
        'TCP with an accept hook: connections that the kernel has queued are served, and later ones are refused',
      ],
      reason: WINE_COMPLETION,
      unsteady: true,
    },
    {
      file: 'drain',
      tests: [
        'TCP: a restart under load loses no answer to a request that was received',
        'TLS: a restart under load loses no answer to a request that was received',
        'Unix: a restart under load loses no answer to a request that was received',
        'a connection that maxAge ends while its handler is at work counts as cut off',
      ],
      reason: WINE_COMPLETION,
      unsteady: true,
      blocks: true,
    },
    {
      file: 'drain',
      tests: [
        'Unix: a client that does not read what was written before closeTimeout counts as cut off, and is reported once: an async handler that has returned',
        'Unix: a client that does not read what was written before closeTimeout counts as cut off, and is reported once: a plain handler that has returned',
        'Unix: a client that does not read what was written before closeTimeout counts as cut off, and is reported once: a handler that waits for its own close',
      ],
      reason: 'Windows: a read that has begun on a named pipe takes everything',
      unsteady: true,
    },
    {
      file: 'frames-transports',
      tests: [
        'pipe: frames of all sizes, also above 64 KiB, arrive whole and in order',
        'pipe: a huge length is refused, and no memory is allocated for it',
        'pipe: a receiver that reads frames slowly bounds the memory of both sides',
        'pipe: windows and chunks(n) give a body of 10 MB as it was sent',
        'pipe: polling a try on a stream that back-pressure has paused does not stall',
        'pipe: a stream that ends within a frame gives the rest with the error',
      ],
      reason: PIPE_FILES,
    },
    {
      file: 'happy-eyeballs-sockets',
      tests: [
        'if the first address never answers, the second wins and the first is closed',
        'after a silent address comes the other family, unless interleave says otherwise',
        'an address that answers long after the delay still connects',
        'without a delay the next address is tried only when the silent one has failed',
        'if all attempts fail, the silent one last, the error lists them in address order',
        'an abort while all attempts are silent rejects with its reason, and closes them all',
      ],
      reason: 'Windows: a full queue of a listener is not known to be silent',
      unsteady: true,
    },
    {
      file: 'idle-sockets',
      tests: ['however many connections become idle after much data, few of them keep memory to read into'],
      reason: 'Windows: each socket has memory of its own to read into',
    },
    {
      file: 'inherited',
      reason: 'Windows: sockets have no file descriptors',
    },
    {
      file: 'last-words',
      reason:
        'Windows: the rest that the kernel holds after a failed write cannot be read, and Wine stalls in some of these',
      unsteady: true,
    },
    {
      file: 'pipe',
      tests: [
        'the wrong end of a pipe is refused before anything is made of it',
        'a pair of fds carries bytes and EOF in one direction, and is then closed',
        ...contract.map((title) => `a pair of pipes, direct reads: ${title}`),
        ...contract.map((title) => `a pair of pipes, data reads: ${title}`),
      ],
      reason: PIPE_FILES,
    },
    {
      file: 'sendfile',
      tests: ['files that cannot be sent: the error says why, the stream stays usable, no fd is left open'],
      reason: PIPE_FILES,
    },
    {
      file: 'server',
      tests: ['a waiting connection that broke is passed to the handler as a lost stream'],
      reason: WINE_RESETS,
      unsteady: true,
    },
    {
      file: 'server',
      tests: ['errors that a handler sees because the server closes its connection are not reported'],
      reason: 'Wine: the buffers of a connection are not full before shutdownTimeout has passed',
      unsteady: true,
    },
    {
      file: 'socket',
      tests: [
        'accepted sockets: a peer that resets before the move is reported',
        'a reset after bytes that are read late is not EOF: direct',
        'a reset after bytes that are read late is not EOF: data',
        ...socketPairs.flatMap(contractOfResets),
      ],
      reason: WINE_RESETS,
      unsteady: true,
      blocks: true,
    },
    {
      file: 'socket',
      tests: [...socketPairs.map((pair) => `${pair}: a batch of any number of pieces arrives completely`)],
      reason: 'Wine refuses a write of more than 1024 pieces with EMSGSIZE',
      blocks: true,
    },
    {
      file: 'socket',
      tests: [
        'Unix socket, direct: half-close ends one direction; the connection closes when both have ended',
        'Unix socket, data: half-close ends one direction; the connection closes when both have ended',
      ],
      reason: NO_HALF_CLOSE,
      blocks: true,
    },
    {
      file: 'start-tls-transports',
      tests: [
        'two pipes: an upgrade of both sides: plain before, encrypted after',
        'two pipes: one side may start the handshake long before the other',
        'two pipes: earlier writes are sent in plain text first, by the client',
        'two pipes: earlier writes are sent in plain text first, by the server',
        "two pipes: plain bytes after the command close the server's side, and are never read",
        "two pipes: plain bytes after the answer close the client's side, and are never read",
        'two pipes: plain bytes followed by EOF: reads reject, and do not end as at EOF',
        'two pipes: plain bytes during the handshake end it',
        'two pipes: a certificate for another name closes the connection',
        'two pipes: a peer that ends during the handshake, or never starts it, is an error',
      ],
      reason: PIPE_FILES,
    },
    {
      file: 'start-tls-transports',
      tests: ['a Unix socket: plain bytes followed by EOF: reads reject, and do not end as at EOF'],
      reason: NO_HALF_CLOSE,
    },
    {
      file: 'stream',
      tests: ['writeBufferSize counts the bytes that the kernel has not taken, and inspect shows them as queued'],
      reason: PIPE_FILES,
    },
    {
      file: 'tls-contract',
      tests: [...tlsPairs.flatMap(contractOfResets)],
      reason: WINE_RESETS,
      unsteady: true,
      blocks: true,
    },
    {
      file: 'tls-errors',
      tests: ['a reset after the handshake is reported as without TLS'],
      reason: WINE_RESETS,
      unsteady: true,
      blocks: true,
    },
    {
      file: 'unix-server',
      tests: [
        'only the socket is in its directory while the server serves, and nothing after close',
        'a relative path is removed even if the working directory has changed',
        'the path may be a file: URL, the longest path, or a short name in a deep directory',
        'closing a server leaves the file of another server that has replaced it',
        'closing a server leaves a file that is not its socket, and tolerates a missing one',
        'a socket that another server listens on is never replaced',
        'a stale file is replaced',
        'of many servers that find a stale file, one gets the path and keeps it',
        'of many processes that find a stale file, one gets the path',
        'a path that is not a socket is refused, and left alone',
        'a directory that does not exist is ENOENT',
        'close during bind leaves no file',
      ],
      reason: SOCKET_FILES,
    },
    { file: 'unix-server', tests: ['(no test)'], reason: 'Windows: what the tests above have opened', unsteady: true },
    {
      file: 'write-max',
      tests: ['a fifo whose reader does not read is cut off'],
      reason: PIPE_FILES,
    },
    {
      file: 'connect-unix',
      tests: [
        'a Unix socket from connectUnix: random batches in both directions arrive unchanged while reading pauses and resumes',
      ],
      reason: NO_HALF_CLOSE,
      unsteady: true,
      blocks: true,
    },
    {
      file: 'socket',
      tests: ['Unix socket, data: after the sink returns false, no more bytes are delivered until resumeReading'],
      reason: 'Windows: a read that has begun on a named pipe takes everything',
      blocks: true,
    },
    {
      file: 'socket',
      tests: [
        'Unix socket, direct: random batches in both directions arrive unchanged while reading pauses and resumes',
        'Unix socket, data: random batches in both directions arrive unchanged while reading pauses and resumes',
      ],
      reason: NO_HALF_CLOSE,
      unsteady: true,
      blocks: true,
    },
    {
      file: 'tls-contract-more',
      tests: [
        'TLS over a Unix socket: random batches in both directions arrive unchanged while reading pauses and resumes',
        'TLS over a Unix socket: half-close ends one direction; the connection closes when both have ended',
      ],
      reason: NO_HALF_CLOSE,
      unsteady: true,
    },
  ],
  qemu: [],
};
