"""CPython asyncio: `await reader.readline()`, one line at a time.

    python asyncio_readline.py PORT [verify]

`SLUICE_BENCH_LOOP=uvloop` runs it on uvloop.
"""

from program import receive, run


async def read(reader, digest):
    lines = size = 0
    readline = reader.readline
    if digest is not None:
        while line := await readline():
            lines += 1
            size += len(line)
            digest.frame(line[:-1])
    else:
        while line := await readline():
            lines += 1
            size += len(line)
    return lines, size - lines


run(receive(read))
