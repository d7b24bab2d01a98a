"""CPython asyncio: `await reader.readexactly(n)`.

    python asyncio_exactly.py PORT [verify]

`SLUICE_BENCH_LOOP=uvloop` runs it on uvloop.
"""

from asyncio import IncompleteReadError

from program import receive, run

FRAME_BYTES = 1024 * 1024


async def read(reader, digest):
    frames = size = 0
    try:
        while True:
            frame = await reader.readexactly(FRAME_BYTES)
            frames += 1
            size += len(frame)
            if digest is not None:
                digest.frame(frame)
    except IncompleteReadError as error:
        if error.partial:
            raise
    return frames, size


run(receive(read))
