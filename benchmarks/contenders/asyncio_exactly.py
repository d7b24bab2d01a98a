"""CPython asyncio: `await reader.readexactly(n)`.

    python asyncio_exactly.py PORT [verify]

`SLUICE_BENCH_LOOP=uvloop` runs it on uvloop. The clock starts once the connection is established and stops at EOF.
"""

import asyncio
import hashlib
import json
import os
import sys
import time

FRAME_BYTES = 1024 * 1024


async def main(port, verify):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = time.perf_counter()
    frames = size = 0
    digest = hashlib.sha256()
    try:
        while True:
            frame = await reader.readexactly(FRAME_BYTES)
            frames += 1
            size += len(frame)
            if verify:
                digest.update(b"%d:" % len(frame))
                digest.update(frame)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
    answer = {"frames": frames, "bytes": size, "seconds": time.perf_counter() - start}
    if verify:
        answer["digest"] = digest.hexdigest()
    print(json.dumps(answer))
    writer.close()


if os.environ.get("SLUICE_BENCH_LOOP") == "uvloop":
    import uvloop

    uvloop.install()
asyncio.run(main(int(sys.argv[1]), "verify" in sys.argv))
