"""CPython asyncio: frames that arrive in pieces of 16 bytes, without a socket.

    python asyncio_drip.py FRAME_BYTES FRAMES [verify]

`StreamReader.feed_data` against a waiting `readuntil`; the reader runs between any two pieces.
"""

import asyncio
import hashlib
import json
import sys
import time

PIECE = 16


async def main(frame_bytes, frames, verify):
    fill = b"drip\rdrop, "
    frame = (fill * (frame_bytes // len(fill) + 1))[: frame_bytes - 2] + b"\r\n"
    pieces = [frame[at : at + PIECE] for at in range(0, frame_bytes, PIECE)]
    reader = asyncio.StreamReader(limit=frame_bytes)
    digest = hashlib.sha256()
    size = 0

    start = time.perf_counter()
    for _ in range(frames):
        waiting = asyncio.ensure_future(reader.readuntil(b"\r\n"))
        await asyncio.sleep(0)
        for piece in pieces:
            reader.feed_data(piece)
            await asyncio.sleep(0)
        got = await waiting
        size += len(got) - 2
        if verify:
            digest.update(b"%d:" % (len(got) - 2))
            digest.update(got[:-2])
    answer = {"frames": frames, "bytes": size, "seconds": time.perf_counter() - start}
    if verify:
        answer["digest"] = digest.hexdigest()
    print(json.dumps(answer))


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), "verify" in sys.argv))
