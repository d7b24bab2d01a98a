"""CPython asyncio: `await reader.readuntil(b"\\r\\n\\r\\n")`, one header block at a time.

    python asyncio_until.py PORT [verify]

`SLUICE_BENCH_LOOP=uvloop` runs it on uvloop.
"""

from asyncio import IncompleteReadError

from program import receive, run

SEPARATOR = b"\r\n\r\n"


async def read(reader, digest):
    blocks = size = 0
    try:
        while True:
            block = await reader.readuntil(SEPARATOR)
            blocks += 1
            size += len(block) - len(SEPARATOR)
            if digest is not None:
                digest.frame(block[: -len(SEPARATOR)])
    except IncompleteReadError as error:
        if error.partial:
            raise
    return blocks, size


run(receive(read))
