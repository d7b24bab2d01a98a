"""CPython asyncio: `await reader.readline()`, one line at a time.

    python asyncio_readline.py PORT [verify]

`SLUICE_BENCH_LOOP=uvloop` runs it on uvloop. The clock starts once the connection is established and stops at EOF.
"""

import asyncio
import hashlib
import json
import os
import sys
import time


async def main(port, verify):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = time.perf_counter()
    frames = size = 0
    if verify:
        digest = hashlib.sha256()
        while line := await reader.readline():
            frames += 1
            size += len(line) - 1
            digest.update(b"%d:" % (len(line) - 1))
            digest.update(line[:-1])
    else:
        readline = reader.readline
        while line := await readline():
            frames += 1
            size += len(line)
        size -= frames
    answer = {"frames": frames, "bytes": size, "seconds": time.perf_counter() - start}
    if verify:
        answer["digest"] = digest.hexdigest()
    print(json.dumps(answer))
    writer.close()


if os.environ.get("SLUICE_BENCH_LOOP") == "uvloop":
    import uvloop

    uvloop.install()
asyncio.run(main(int(sys.argv[1]), "verify" in sys.argv))
