"""CPython asyncio: frames that arrive in small pieces, without a socket.

    python asyncio_drip.py FRAME_BYTES FRAMES PIECE_BYTES [verify]

`StreamReader.feed_data` against a waiting `readuntil`; the reader runs between any two pieces.
"""

import asyncio
import time

from program import Digest, answer, run, verify, words


async def main(frame_bytes, frames, piece_bytes):
    fill = b"drip\rdrop, "
    frame = (fill * (frame_bytes // len(fill) + 1))[: frame_bytes - 2] + b"\r\n"
    pieces = [frame[at : at + piece_bytes] for at in range(0, frame_bytes, piece_bytes)]
    reader = asyncio.StreamReader(limit=frame_bytes)
    digest = Digest() if verify else None
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
        if digest is not None:
            digest.frame(got[:-2])
    answer(frames, size, time.perf_counter() - start, digest)


run(main(*words))
