"""Which HTTP server keeps answering, and how fast, when other clients misbehave?

``python -m benchmarks.serving [--seconds N]``

Starts the API of an installation with one champion under each server in turn: ours (`al_server.http_server`), waitress
with its defaults, gunicorn with threads and granian, each with eight threads in one process. While some connections
misbehave, ten well-behaved ones ask for ``/healthz`` and read the rate and percentiles:

- 200 connections that stop in the middle of a header (half-open), or send nothing, or stay open after a request (idle),
- 200 that stop in the middle of the body of a webhook with the right secret (slow senders),
- 40 that ask for a large file and do not read (slow readers).

Then 50 clients ask for ``/healthz`` and for ``/api/v1/models/latest`` with ``If-None-Match`` (304), in turns. A server
that is not installed is left out, and the report says so. Writes ``var/bench/serving.json``.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import numpy as np

from benchmarks.report import Result, markdown, publish
from benchmarks.scored_scene import new_catalog
from catalog import registry_copy
from catalog.bundle_cache import CARD, ONNX, WEIGHTS, checksum_tag
from catalog.context import Catalog
from catalog.records import now
from catalog.registry import CHAMPION, ModelVersion
from labeling.webhook import SECRET_HEADER

THREADS: Final = 8
LARGE_BYTES: Final = 20_000_000
PATIENCE_S: Final = 10.0  # after which an answer counts as missing
START_S: Final = 120.0
CLIENTS: Final = 50
WELL_BEHAVED: Final = 10
OPEN: Final = 200
READERS: Final = 40

_WAITRESS: Final = (
    "import waitress; from benchmarks.serving import application; "
    "waitress.serve(application(), port={port}, threads={threads})"
)
SERVERS: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    "ours": ("waitress", ("-m", "al_server.main")),
    "waitress, defaults": ("waitress", ("-c", _WAITRESS)),
    "gunicorn": (
        "gunicorn",
        (
            *("-m", "gunicorn", "--worker-class", "gthread", "--threads", "{threads}", "--workers", "1"),
            *("--bind", "127.0.0.1:{port}", "--no-control-socket", "benchmarks.serving:application()"),
        ),
    ),
    "granian": (
        "granian",
        (
            *("-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws", "--port", "{port}"),
            *("--blocking-threads", "{threads}", "--factory", "benchmarks.serving:application"),
        ),
    ),
}
"""The module that each server needs, and the arguments of Python that start it."""


def application() -> object:
    """Return the application that the environment describes; servers other than ours call this."""
    from al_server import main
    from catalog.settings import Settings

    return main.application(Settings())


@dataclass
class Load:
    """What well-behaved clients saw.

    Attributes:
        seconds: Duration of each answer.
        failures: Answers that did not come, or not with the expected status.
    """

    seconds: list[float] = field(default_factory=list)
    failures: int = 0

    def row(self, length_s: float) -> dict[str, object]:
        """Return answers a second, percentiles in ms, and failures."""
        ms = [1000 * float(np.percentile(self.seconds, rank)) for rank in (50, 99)] if self.seconds else [None, None]
        return {
            "answers/s": round(len(self.seconds) / length_s),
            "p50 ms": ms[0],
            "p99 ms": ms[1],
            "failed": self.failures,
        }


async def ask(url: str, clients: int, length_s: float, status: int, headers: Mapping[str, str]) -> Load:
    """Have clients ask for a URL again and again, each on one connection, for a time."""
    parts = urlsplit(url)
    lines = [f"GET {parts.path} HTTP/1.1", f"Host: {parts.netloc}", *(f"{k}: {v}" for k, v in headers.items())]
    request, load = "\r\n".join([*lines, "", ""]).encode(), Load()
    end = time.perf_counter() + length_s

    async def client() -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while time.perf_counter() < end:
            started = time.perf_counter()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    streams = streams or await asyncio.open_connection(parts.hostname, parts.port)
                    streams[1].write(request)
                    found = await _read_status(streams[0])
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                load.failures += 1
                if streams is not None:
                    streams[1].close()
                streams = None
                continue
            load.failures += found != status
            load.seconds.append(time.perf_counter() - started)
        if streams is not None:
            streams[1].close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return load


async def _read_status(reader: asyncio.StreamReader) -> int:
    """Read an answer, and return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    status = int(head[0].split()[1])
    lengths = [int(line.partition(":")[2]) for line in head if line.startswith("content-length:")]
    if status != httpx.codes.NOT_MODIFIED and lengths:
        await reader.readexactly(lengths[0])
    return status


async def misbehave(url: str, connections: int, sent: bytes, length_s: float) -> Load:
    """Open connections that send this and then neither send nor read; return what others see meanwhile."""
    parts = urlsplit(url)
    held = []
    for _ in range(connections):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(sent)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket's transport
        held.append((reader, writer))
    await asyncio.sleep(1)
    seen = await ask(f"{url}/healthz", WELL_BEHAVED, length_s, httpx.codes.OK, {})
    for _, writer in held:
        writer.transport.abort()
    return seen


def add_champion(catalog: Catalog) -> None:
    """Have the copy of the registry say that version 1 is served, with files in the cache."""
    tags = {checksum_tag(name): "0" * 64 for name in (CARD, ONNX, WEIGHTS)}
    folder = catalog.settings.var_dir / "cache" / "models" / "1-run"
    folder.mkdir(parents=True)
    for name in (CARD, ONNX, WEIGHTS):
        (folder / name).write_bytes(bytes(LARGE_BYTES))
    with catalog.database.write() as session:
        registry_copy.store(session, [ModelVersion(1, "run", now(), tags)])
        registry_copy.set_aliases(session, {CHAMPION: 1})
        registry_copy.note_seen(session)


@contextmanager
def running(catalog: Catalog, arguments: Sequence[str]) -> Iterator[str]:
    """Run a server of the API while the block lasts; yield its address."""
    url = catalog.settings.api_url
    values = {"port": str(urlsplit(url).port), "threads": str(THREADS)}
    command = [sys.executable, *(argument.format(**values) for argument in arguments)]
    environment = {**os.environ, **catalog.settings.as_environment(), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_S
            while not _is_alive(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{command} did not start: {log.read().decode()[-2000:]}")
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).is_success
    except httpx.TransportError:
        return False


def measure(catalog: Catalog, url: str, length_s: float) -> Iterator[dict[str, object]]:
    """Yield a row for each situation of one server."""
    secrets = catalog.secrets
    reader = {"Authorization": f"Bearer {secrets.reader_token}"}
    token = f"Authorization: Bearer {secrets.reader_token}\r\n"
    hook = f"{SECRET_HEADER}: {secrets.webhook_secret}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
    start = "POST /api/v1/webhooks/label-studio HTTP/1.1\r\nHost: x\r\n"
    situations = {
        f"{OPEN} half-open": (OPEN, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-a: "),
        f"{OPEN} silent": (OPEN, ""),
        f"{OPEN} idle": (OPEN, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        f"{OPEN} slow senders": (OPEN, f"{start}{hook}\r\n{{"),
        f"{READERS} slow readers": (READERS, f"GET /api/v1/models/latest/onnx HTTP/1.1\r\nHost: x\r\n{token}\r\n"),
    }
    etag = httpx.get(f"{url}/api/v1/models/latest", headers=reader, timeout=PATIENCE_S).headers["ETag"]
    loads: dict[str, list[float]] = {}
    targets = {
        "/healthz": ("/healthz", int(httpx.codes.OK), {}),
        "latest, 304": ("/api/v1/models/latest", int(httpx.codes.NOT_MODIFIED), {**reader, "If-None-Match": etag}),
    }
    for _ in range(2):
        for name, (path, status, headers) in targets.items():
            load = asyncio.run(ask(f"{url}{path}", CLIENTS, length_s / 2, status, headers))
            loads.setdefault(name, []).extend(load.seconds)
    for name, seconds in loads.items():
        yield {"asked": f"{name}, {CLIENTS} clients", **Load(seconds).row(length_s)}
    for name, (connections, sent) in situations.items():
        seen = asyncio.run(misbehave(url, connections, sent.encode(), length_s))
        yield {"asked": f"/healthz beside {name}", **seen.row(length_s)}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seconds", type=float, default=4.0, help="length of each measurement")
    return made


def main() -> None:
    """Measure, print the table, write the report."""
    length_s = parser().parse_args().seconds
    left_out = {
        name: f"{module} is not installed" for name, (module, _) in SERVERS.items() if find_spec(module) is None
    }
    rows = []
    for name, (_, arguments) in SERVERS.items():
        if name in left_out:
            continue
        with tempfile.TemporaryDirectory() as folder:
            catalog = new_catalog(Path(folder))
            add_champion(catalog)
            with running(catalog, arguments) as url:
                rows += [{"server": name, **row} for row in measure(catalog, url, length_s)]
            catalog.close()
        print(markdown([row for row in rows if row["server"] == name]), flush=True)
    polled, alive = (float(str(row["answers/s"])) for row in (rows[1], rows[0]))
    publish(
        Result(
            "serving",
            rows,
            baseline="GET /healthz of the same server",
            ratio=polled / alive,
            conditions={"threads": THREADS, "seconds": length_s, "left out": left_out},
        )
    )


if __name__ == "__main__":
    main()
