"""CPython asyncio: two `await reader.readexactly(n)` for each frame, one for its 4-byte length and one for the rest.

    python asyncio_length.py PORT [verify]

`SLUICE_BENCH_LOOP=uvloop` runs it on uvloop.
"""

from asyncio import IncompleteReadError

from program import receive, run

HEADER_BYTES = 4


async def read(reader, digest):
    frames = size = 0
    readexactly = reader.readexactly
    from_bytes = int.from_bytes
    try:
        while True:
            header = await readexactly(HEADER_BYTES)
            try:
                payload = await readexactly(from_bytes(header, "big"))
            except IncompleteReadError as error:
                raise EOFError("EOF within a frame") from error
            frames += 1
            size += len(payload)
            if digest is not None:
                digest.frame(payload)
    except IncompleteReadError as error:
        if error.partial:
            raise
    return frames, size


run(receive(read))
