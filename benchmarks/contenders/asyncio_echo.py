"""CPython asyncio: a server that echoes lines. Prints its port.

    python asyncio_echo.py

`SLUICE_BENCH_LOOP=uvloop` runs it on uvloop. It drains where asyncio's documentation says so: after every write.
"""

import asyncio

from program import run


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


run(main())
