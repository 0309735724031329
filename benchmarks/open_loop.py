"""Requests at a fixed rate, each at its time whether or not the ones before have been answered (an open loop).

Seconds count from the time at which a request was due: a server that falls behind is not asked less. Requests are bytes
prepared beforehand, over plain sockets: a client library would take as much of the machine as the server measured.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

REUSE_S: Final = 5.0
"""How long a free connection may be taken again: a request that meets its closing by the server, which ends idle ones
(ours after 20 s), would be lost."""
PATIENCE_S: Final = 120
"""How long an answer is waited for after the last request was due."""

Request = Callable[[int], Sequence[bytes]]
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """Open connections to one server; each request takes one that is free, or a new one."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._free: list[tuple[float, _Connection]] = []  # since when, the one used last at the end

    async def status(self, request: Sequence[bytes]) -> int:
        """Send a request; return the status of its answer, which has to tell its length.

        Raises:
            OSError: The connection failed.
            EOFError: It was closed before the answer was complete.
        """
        reader, writer = self._idle() or await asyncio.open_connection(*self._address)
        try:
            writer.writelines(request)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, rest = head.partition(b"content-length:")
            await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
        except BaseException:
            writer.close()
            raise
        self._free.append((time.monotonic(), (reader, writer)))
        return int(head.split(b" ", 2)[1])

    def _idle(self) -> _Connection | None:
        """Return a free connection, the one used last; those that have been idle for long are dropped."""
        while self._free:
            since, (reader, writer) = self._free.pop()
            if since > time.monotonic() - REUSE_S and not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    async def close(self) -> None:
        """Close the connections that are free."""
        for _, (_, writer) in self._free:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def at_rate(client: Client, request: Request, count: int, rate: float) -> list[float]:
    """Send requests at their times.

    Args:
        client: The connections.
        request: Returns the bytes of the request with a number, in parts.
        count: How many.
        rate: Requests a second.

    Returns:
        Seconds from when each was due to its answer; infinite without one, and for an error.
    """
    start = time.perf_counter()
    seconds = [float("inf")] * count

    async def one(number: int) -> None:
        with suppress(OSError, EOFError):
            if await client.status(request(number)) < 400:
                seconds[number] = time.perf_counter() - start - number / rate

    running: set[asyncio.Task[None]] = set()
    for number in range(count):
        wait_s = start + number / rate - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        task = asyncio.create_task(one(number))
        running.add(task)
        task.add_done_callback(running.discard)
        if wait_s <= 0 and number % 20 == 0:
            await asyncio.sleep(0)  # late: let what is under way go on
    if running:
        _, late = await asyncio.wait(running, timeout=PATIENCE_S)
        for task in late:
            task.cancel()
    return seconds
