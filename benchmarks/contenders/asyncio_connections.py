"""CPython asyncio: `await reader.readline()` on many connections at once.

    python asyncio_connections.py PORT CONNECTIONS [verify]

`SLUICE_BENCH_LOOP=uvloop` runs it on uvloop. The clock starts once all connections are established, and stops when the last
one has been read to its end.
"""

import asyncio
import time

from program import Digest, answer, run, verify, words


async def read(reader):
    lines = size = 0
    digest = Digest() if verify else None
    readline = reader.readline
    while line := await readline():
        lines += 1
        size += len(line)
        if digest is not None:
            digest.frame(line[:-1])
    return lines, size - lines, str(digest)


async def main(port, connections):
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    start = time.perf_counter()
    tallies = await asyncio.gather(*(read(reader) for reader, _ in streams))
    seconds = time.perf_counter() - start
    lines, sizes, digests = zip(*tallies)
    # All connections carry the same bytes: their digests are one unless one of them got something else.
    answer(sum(lines), sum(sizes), seconds, " ".join(set(digests)) if verify else None)
    for _, writer in streams:
        writer.close()


run(main(*words))
