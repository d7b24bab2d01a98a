"""The common part of the contenders in Python: how they receive their arguments, run, and report their results."""

import asyncio
import hashlib
import json
import os
import sys
import time

# With `verify`, the last word, every frame is digested too; that run is not timed.
verify = sys.argv[-1] == "verify"

# The numeric arguments before it. The first argument of a receiver is the port of the sender.
words = [int(word) for word in sys.argv[1:] if word != "verify"]


class Digest:
    """A digest of frames that depends on where each of them ends: as in digest.ts."""

    def __init__(self):
        self._hash = hashlib.sha256()

    def frame(self, content):
        self._hash.update(b"%d:" % len(content))
        self._hash.update(content)

    def __str__(self):
        return self._hash.hexdigest()


def answer(frames, size, seconds, digest):
    """Prints the answer; `size` is how many bytes the frames hold, without their separators."""
    found = {"frames": frames, "bytes": size, "seconds": seconds}
    if digest is not None:
        found["digest"] = str(digest)
    print(json.dumps(found))


async def receive(read):
    """Connects, has `read(reader, digest)` read to the end, and answers with the frames and the bytes that it returns.

    The digest is None in a timed run. The clock starts once the connection is established and stops at EOF.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", words[0])
    start = time.perf_counter()
    digest = Digest() if verify else None
    frames, size = await read(reader, digest)
    answer(frames, size, time.perf_counter() - start, digest)
    writer.close()


def run(main):
    """Runs a coroutine to its end; on uvloop where `SLUICE_BENCH_LOOP=uvloop` says so."""
    if os.environ.get("SLUICE_BENCH_LOOP") == "uvloop":
        import uvloop

        uvloop.install()
    asyncio.run(main)
