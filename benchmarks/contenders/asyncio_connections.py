"""CPython asyncio: `await reader.readline()` on many connections at once.

    python asyncio_connections.py PORT CONNECTIONS [verify]

`SLUICE_BENCH_LOOP=uvloop` runs it on uvloop. The clock starts once all connections are established, and stops when the last
one has been read to its end.
"""

import asyncio
import hashlib
import json
import os
import sys
import time


async def read(reader, verify):
    frames = size = 0
    digest = hashlib.sha256()
    readline = reader.readline
    while line := await readline():
        frames += 1
        size += len(line)
        if verify:
            digest.update(b"%d:" % (len(line) - 1))
            digest.update(line[:-1])
    return frames, size - frames, digest.hexdigest()


async def main(port, connections, verify):
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    start = time.perf_counter()
    tallies = await asyncio.gather(*(read(reader, verify) for reader, _ in streams))
    seconds = time.perf_counter() - start
    frames, sizes, digests = zip(*tallies)
    answer = {"frames": sum(frames), "bytes": sum(sizes), "seconds": seconds}
    if verify:
        # All connections carry the same bytes: their digests are one unless one of them got something else.
        answer["digest"] = " ".join(set(digests))
    print(json.dumps(answer))
    for _, writer in streams:
        writer.close()


if os.environ.get("SLUICE_BENCH_LOOP") == "uvloop":
    import uvloop

    uvloop.install()
asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), "verify" in sys.argv))
