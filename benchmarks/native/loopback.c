/*
 * The other end of every benchmark: it sends, or discards, bytes over loopback, and must never be the slower side.
 *
 *     loopback send BLOCK TOTAL CHUNK CONNECTIONS
 *         Listens on a free port of 127.0.0.1, prints it, waits for CONNECTIONS connections, and sends each of them TOTAL
 *         bytes: the content of the file BLOCK, over and over. CHUNK > 0 bounds each write, without Nagle's algorithm.
 *         Then it half-closes and waits until every peer has closed.
 *
 *     loopback sink PORT CONNECTIONS
 *         Opens that many connections, reads them all until EOF without looking at the bytes, and prints {"bytes", "seconds"}:
 *         how fast the sender is.
 *
 *     loopback echo PORT DEPTH COUNT LENGTH
 *         Connects to an echo server and has DEPTH requests of LENGTH bytes (the last one LF) in flight until COUNT are
 *         answered; compares every answer with what was sent; prints {"frames", "bytes", "seconds"}.
 *
 *     loopback hold PORT CONNECTIONS
 *         Opens that many connections, prints {"connections"}, and keeps them until its input ends.
 *
 *     loopback fan PORT CONNECTIONS STALLED BLOCK TOTAL
 *         Opens that many connections, of which the first STALLED never read. Every other one must receive TOTAL bytes, the content of
 *         the file BLOCK over and over, and then EOF. Prints {"bytes", "seconds"}; the clock starts with the first byte.
 *
 * The clock of the reading side starts when its connection is established, and stops at EOF; the contenders do the same.
 * Whatever goes wrong ends the process with a message: a benchmark must not go on with half an answer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A sender that nobody connects to, or nobody reads from, must not outlive the run. */
#define LIFETIME_SECONDS 600
#define READ_SIZE (64 * 1024)
#define WRITE_SIZE (1024 * 1024)

static void fail(const char *what) {
  fprintf(stderr, "loopback: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void refuse(const char *what) {
  fprintf(stderr, "loopback: %s\n", what);
  exit(2);
}

static long long number(const char *text) {
  char *end;
  long long value = strtoll(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value < 0) refuse("not a count");
  return value;
}

static void *allocate(size_t size) {
  void *memory = malloc(size ? size : 1);
  if (memory == NULL) fail("malloc");
  return memory;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* As many files as this process may have open. */
static void raise_limit(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) fail("getrlimit");
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) fail("setrlimit");
}

static void without_nagle(int fd) {
  int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("setsockopt");
}

/*
 * Some systems control congestion by a model of the path (BBR): on loopback that holds the sender to the pace at which the
 * receiver has been reading, and loses packets for which it then waits 200 ms. Reno sends what the receiver has room for; where it
 * cannot be had, the system's choice has to do.
 */
static void without_pacing(int fd) {
  (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

static int dial_with(const char *port, int receive_buffer) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)number(port))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) fail("socket");
  without_pacing(fd);
  if (receive_buffer > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer) != 0) fail("setsockopt");
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
  return fd;
}

static int dial(const char *port) {
  return dial_with(port, 0);
}

static char *load(const char *path, size_t *size) {
  int fd = open(path, O_RDONLY);
  struct stat facts;
  if (fd < 0 || fstat(fd, &facts) != 0) fail(path);
  *size = (size_t)facts.st_size;
  if (*size == 0) refuse("the block is empty");
  char *block = allocate(*size);
  for (size_t have = 0; have < *size;) {
    ssize_t count = read(fd, block + have, *size - have);
    if (count <= 0) fail(path);
    have += (size_t)count;
  }
  close(fd);
  return block;
}

static void send_block(const char *path, long long total, long long chunk, long long connections) {
  size_t size;
  char *block = load(path, &size);
  if (connections < 1) refuse("no connections");

  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (listener < 0) fail("socket");
  without_pacing(listener);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
  if (listen(listener, 1024) != 0) fail("listen");
  socklen_t length = sizeof address;
  if (getsockname(listener, (struct sockaddr *)&address, &length) != 0) fail("getsockname");
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);

  struct pollfd *peers = allocate((size_t)connections * sizeof *peers);
  long long *sent = calloc((size_t)connections, sizeof *sent);
  if (sent == NULL) fail("calloc");
  for (long long i = 0; i < connections; i++) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) fail("accept");
    if (chunk > 0) without_nagle(fd);
    peers[i] = (struct pollfd){.fd = fd, .events = POLLOUT};
  }
  close(listener);

  size_t most = chunk > 0 ? (size_t)chunk : WRITE_SIZE;
  for (long long open = connections; open > 0;) {
    if (poll(peers, (nfds_t)connections, -1) < 0) fail("poll");
    for (long long i = 0; i < connections; i++) {
      if (peers[i].revents == 0) continue;
      while (sent[i] < total) {
        size_t from = (size_t)(sent[i] % (long long)size);
        size_t count = size - from < most ? size - from : most;
        if ((long long)count > total - sent[i]) count = (size_t)(total - sent[i]);
        ssize_t taken = write(peers[i].fd, block + from, count);
        if (taken < 0 && errno == EAGAIN) break;
        if (taken < 0) fail("write");
        sent[i] += taken;
        /* With several connections each gets its turn; a single one is kept full. */
        if (connections > 1) break;
      }
      if (sent[i] == total) {
        if (shutdown(peers[i].fd, SHUT_WR) != 0) fail("shutdown");
        peers[i].fd = -1 - peers[i].fd;
        open--;
      }
    }
  }

  char rest[4096];
  for (long long i = 0; i < connections; i++) {
    int fd = -1 - peers[i].fd;
    if (fcntl(fd, F_SETFL, 0) != 0) fail("fcntl");
    while (read(fd, rest, sizeof rest) > 0) continue;
    close(fd);
  }
}

static void sink(const char *port, long long connections) {
  if (connections < 1) refuse("no connections");
  char *target = allocate(READ_SIZE);
  struct pollfd *peers = allocate((size_t)connections * sizeof *peers);
  for (long long i = 0; i < connections; i++) peers[i] = (struct pollfd){.fd = dial(port), .events = POLLIN};
  double start = now();
  long long bytes = 0;
  for (long long open = connections; open > 0;) {
    /* A single connection is read without asking whether there is something to read. */
    if (connections > 1 && poll(peers, (nfds_t)connections, -1) < 0) fail("poll");
    for (long long i = 0; i < connections; i++) {
      if (connections > 1 && peers[i].revents == 0) continue;
      ssize_t count = read(peers[i].fd, target, READ_SIZE);
      if (count < 0) fail("read");
      bytes += count;
      if (count > 0) continue;
      close(peers[i].fd);
      peers[i].fd = -1;
      open--;
    }
  }
  printf("{\"bytes\":%lld,\"seconds\":%.9f}\n", bytes, now() - start);
}

static void echo(const char *port, long long depth, long long count, long long length) {
  if (depth < 1 || length < 1) refuse("no requests");
  size_t window = (size_t)(depth * length);
  char *requests = allocate(window);
  for (size_t i = 0; i < window; i++) requests[i] = (char)('a' + i * 7 % 26);
  for (long long i = 1; i <= depth; i++) requests[i * length - 1] = '\n';
  char *answers = allocate(READ_SIZE);

  int fd = dial(port);
  without_nagle(fd);
  long long total = count * length, sent = 0, received = 0;
  double start = now();
  while (received < total) {
    /* As many whole requests as have been answered go out at once. */
    long long due = received / length * length + (long long)window;
    if (due > total) due = total;
    while (sent < due) {
      size_t from = (size_t)sent % window;
      size_t some = window - from;
      if ((long long)some > due - sent) some = (size_t)(due - sent);
      ssize_t taken = write(fd, requests + from, some);
      if (taken < 0) fail("write");
      sent += taken;
    }
    ssize_t got = read(fd, answers, READ_SIZE);
    if (got < 0) fail("read");
    if (got == 0) refuse("the server closed the connection early");
    for (ssize_t at = 0; at < got;) {
      size_t from = (size_t)received % window;
      size_t some = window - from < (size_t)(got - at) ? window - from : (size_t)(got - at);
      if (memcmp(answers + at, requests + from, some) != 0) refuse("an answer differs from its request");
      at += (ssize_t)some;
      received += (long long)some;
    }
    if (received > sent) refuse("more answers than requests");
  }
  printf("{\"frames\":%lld,\"bytes\":%lld,\"seconds\":%.9f}\n", count, received, now() - start);
}

static void hold(const char *port, long long connections) {
  for (long long i = 0; i < connections; i++) dial(port);
  printf("{\"connections\":%lld}\n", connections);
  fflush(stdout);
  char rest[64];
  while (read(STDIN_FILENO, rest, sizeof rest) > 0) continue;
}

static void fan(const char *port, long long connections, long long stalled, const char *path, long long total) {
  size_t size;
  char *block = load(path, &size);
  if (stalled >= connections) refuse("no connection that reads");
  /* The kernel holds little for those that do not read, so that the server soon notices. */
  for (long long i = 0; i < stalled; i++) dial_with(port, 4096);
  long long reading = connections - stalled, bytes = 0;
  struct pollfd *peers = allocate((size_t)reading * sizeof *peers);
  long long *received = calloc((size_t)reading, sizeof *received);
  char *target = allocate(READ_SIZE);
  if (received == NULL) fail("calloc");
  for (long long i = 0; i < reading; i++) peers[i] = (struct pollfd){.fd = dial(port), .events = POLLIN};
  double start = 0;
  for (long long open = reading; open > 0;) {
    if (poll(peers, (nfds_t)reading, -1) < 0) fail("poll");
    if (start == 0) start = now();
    for (long long i = 0; i < reading; i++) {
      if (peers[i].revents == 0) continue;
      ssize_t count = read(peers[i].fd, target, READ_SIZE);
      if (count < 0) fail("read");
      if (count == 0) {
        if (received[i] != total) refuse("a connection ended early");
        close(peers[i].fd);
        peers[i].fd = -1;
        open--;
        continue;
      }
      for (ssize_t at = 0; at < count;) {
        size_t from = (size_t)(received[i] % (long long)size);
        size_t some = size - from < (size_t)(count - at) ? size - from : (size_t)(count - at);
        if (memcmp(target + at, block + from, some) != 0) refuse("a connection received other bytes");
        at += (ssize_t)some;
        received[i] += (long long)some;
      }
      bytes += count;
    }
  }
  printf("{\"bytes\":%lld,\"seconds\":%.9f}\n", bytes, now() - start);
}

int main(int count, char **words) {
  signal(SIGPIPE, SIG_IGN);
  alarm(LIFETIME_SECONDS);
  raise_limit();
  const char *mode = count > 1 ? words[1] : "";
  if (count == 6 && strcmp(mode, "send") == 0) send_block(words[2], number(words[3]), number(words[4]), number(words[5]));
  else if (count == 4 && strcmp(mode, "sink") == 0) sink(words[2], number(words[3]));
  else if (count == 6 && strcmp(mode, "echo") == 0) echo(words[2], number(words[3]), number(words[4]), number(words[5]));
  else if (count == 4 && strcmp(mode, "hold") == 0) hold(words[2], number(words[3]));
  else if (count == 7 && strcmp(mode, "fan") == 0) fan(words[2], number(words[3]), number(words[4]), words[5], number(words[6]));
  else
    refuse(
        "send BLOCK TOTAL CHUNK CONNECTIONS | sink PORT CONNECTIONS | echo PORT DEPTH COUNT LENGTH | hold PORT CONNECTIONS | "
        "fan PORT CONNECTIONS STALLED BLOCK TOTAL");
  return 0;
}
