"""How many label events are ingested a second, and how long does Label Studio wait while a training runs?

``python -m benchmarks.label_events [--events N] [--repeats N] [--minutes M] [--rate N] [--workers N] [--processes N]
[--earlier FOLDER]``

Brush drawings of 512 px on a scene of Landsat 7, with a pre-annotation and a scored map, as after a first version.

1. *Ingestion*: N events wait in the ledger; workers of the queue "labels" are started, as by ``glacier-al up``, and the
   time is taken from the first event applied to the last. A stand-in for Label Studio lists its one user, and counts
   how often it is asked. ``--earlier`` names a checkout of an earlier commit, whose workers take turns with ours.
2. *Webhooks*: for M minutes, N webhooks a second are sent to the API, each at its time whether or not the ones before
   have been answered, and ``GET /healthz`` in between, 20 times a second, while a network is trained beside it on one
   thread, standing back as far as the worker "compute", and the worker ingests (`benchmarks.open_loop`). Seconds count
   from the time at which a request was due.
   Afterwards every event must be in the ledger.

Writes ``var/bench/label_events.json``.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
from redis.exceptions import RedisError
from sqlalchemy import func, select

from benchmarks.label_desk import answering_about_users, open_round, webhook, write_source
from benchmarks.open_loop import Client, at_rate
from benchmarks.report import Result, markdown, publish
from benchmarks.scored_scene import running_process, services, wait
from catalog.context import Catalog
from catalog.job_queue import COMPUTE
from catalog.records import EventState, LabelEvent
from cli.plan import Process
from imagery.scene_source import SceneSource
from labeling.events import parse_event
from labeling.webhook import SECRET_HEADER
from services import label_events
from workers.main import NICENESS

PATH: Final = "/api/v1/webhooks/label-studio"
STATIC: Final = "/healthz"
STATIC_RATE: Final = 20
TASKS: Final = 200
"""Tasks of the second part; its webhooks are about other and other annotations of them."""
_ANNOTATION: Final = b'"annotation": {"id": '
TRAINING: Final = """
import os, sys
import torch
os.nice(int(sys.argv[1]))
torch.set_num_threads(1)
network = torch.nn.Sequential(*[torch.nn.Conv2d(15 if i == 0 else 32, 32, 3, padding=1) for i in range(6)])
optimiser = torch.optim.Adam(network.parameters())
while True:
    optimiser.zero_grad()
    network(torch.randn(4, 15, 256, 256)).square().mean().backward()
    optimiser.step()
"""


def ingest(events: int, source: SceneSource, checkout: Path, workers: int) -> dict[str, object]:
    """Ingest events with the workers of a checkout; return the row of the table."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        system = stack.enter_context(services(Path(folder), "redis", label_workers=workers))
        asked = stack.enter_context(answering_about_users(system.catalog.settings.label_studio_url))
        wait(lambda: _answers(system.catalog), "Redis")
        size = _receive(system.catalog, open_round(system.catalog, source, events))
        ours = [process for name, process in system.processes.items() if name.startswith("worker-labels")]
        running = [stack.enter_context(running_process(_worker_of(checkout, each), {})) for each in ours]
        wait(lambda: _applied(system.catalog) > 0, "the first event")
        first, started, before_s = _applied(system.catalog), time.monotonic(), sum(_cpu_s(each.pid) for each in running)
        wait(lambda: _applied(system.catalog) == events, "the last event")
        took_s, cpu_s = time.monotonic() - started, sum(_cpu_s(each.pid) for each in running) - before_s
    return {
        "events": events,
        "bytes of a body": size,
        "events/s": (events - first) / took_s,
        "CPU ms an event": 1000 * cpu_s / (events - first),
        "requests to Label Studio": len(asked),
        "load average": round(os.getloadavg()[0], 1),
    }


def _worker_of(checkout: Path, ours: Process) -> Process:
    """Return the worker of a checkout, which refuses settings that it does not know."""
    code = "from catalog.settings import Settings; print(*Settings.model_fields)"
    path = {**os.environ, "PYTHONPATH": str(checkout)}
    asked = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, env=path, check=True, capture_output=True, text=True
    )
    known = {f"GLACIER_AL_{name.upper()}" for name in asked.stdout.split()}
    env = {name: value for name, value in ours.env.items() if not name.startswith("GLACIER_AL_") or name in known}
    return replace(ours, cwd=checkout, env={**env, "PYTHONPATH": str(checkout)})


def _cpu_s(pid: int) -> float:
    """Return the CPU time that a process and its ended children have taken."""
    return float(sum(psutil.Process(pid).cpu_times()[:4]))


def _receive(catalog: Catalog, uids: Sequence[str]) -> int:
    """Store a webhook for each proposal, with its job; return the size of the last body."""
    for number, uid in enumerate(uids, start=1):
        body = webhook(number, uid, number)
        with catalog.write() as session:
            label_events.record(session, parse_event(body, len(body)), body, "webhook")
    return len(body)


def _applied(catalog: Catalog) -> int:
    with catalog.read() as session:
        applied = select(func.count()).where(LabelEvent.state == EventState.APPLIED)
        return session.scalar(applied) or 0


def _answers(catalog: Catalog) -> bool:
    try:
        return bool(catalog.queue.connection.ping())
    except RedisError:
        return False


def receive(source: SceneSource, seconds: int, rate: int, processes: int) -> list[dict[str, object]]:
    """Send webhooks to so many processes of the API while a network is trained; return the rows of the table."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        system = stack.enter_context(services(Path(folder), "redis", api_processes=processes))
        settings = system.catalog.settings
        stack.enter_context(answering_about_users(settings.label_studio_url))
        wait(lambda: _answers(system.catalog), "Redis")
        uids = open_round(system.catalog, source, TASKS)
        bodies = [webhook(number, uid, number) for number, uid in enumerate(uids, start=1)]
        apis = [
            stack.enter_context(running_process(process, {}))
            for name, process in system.processes.items()
            if name.startswith("api")
        ]
        wait(lambda: _is_alive(settings.api_url), "the API")
        stack.enter_context(running_process(system.processes["worker-labels"], {}))
        stack.enter_context(_training())
        time.sleep(5)  # until the training runs
        before = os.getloadavg()[0]
        secret = system.catalog.secrets.webhook_secret
        own_s, api_s = time.process_time(), sum(_cpu_s(api.pid) for api in apis)
        taken = asyncio.run(_send(settings.api_url, secret, bodies, seconds, rate))
        sent = len(taken["POST webhook"])
        own_s, api_s = time.process_time() - own_s, sum(_cpu_s(api.pid) for api in apis) - api_s
        ingested = _applied(system.catalog)
        rows = compare(taken)
        rows[-1] |= {"in the ledger": _stored(system.catalog), "ingested meanwhile": ingested, "load before": before}
        rows[-1] |= {"CPU ms of the API": 1000 * api_s / sent, "CPU ms of the sender": 1000 * own_s / sent}
    return rows


def _stored(catalog: Catalog) -> int:
    with catalog.read() as session:
        return session.scalar(select(func.count(LabelEvent.id))) or 0


def _is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}{STATIC}").is_success
    except httpx.TransportError:
        return False


@contextmanager
def _training() -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(NICENESS[COMPUTE])], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def _send(url: str, secret: str, bodies: Sequence[bytes], seconds: int, rate: int) -> dict[str, list[float]]:
    """Send requests at their times; return how long each took. An answer that does not come counts as infinite."""
    host = urlsplit(url).hostname or ""
    client = Client(host, urlsplit(url).port or 80)
    parts = [body.split(_ANNOTATION, 1) for body in bodies]
    got_by = f"GET {STATIC} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

    def post(number: int) -> Sequence[bytes]:
        """Return the webhook of another annotation of the same task."""
        before, after = parts[number % len(parts)]
        named = before + _ANNOTATION + b"%d" % (number + 1)
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\n{SECRET_HEADER}: {secret}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(named) + len(after)}\r\n\r\n"
        )
        return head.encode() + named, after

    posted, got = await asyncio.gather(
        at_rate(client, post, seconds * rate, rate),
        at_rate(client, lambda _: (got_by,), seconds * STATIC_RATE, STATIC_RATE),
    )
    await client.close()
    return {f"GET {STATIC}": got, "POST webhook": posted}


def compare(taken: dict[str, list[float]]) -> list[dict[str, object]]:
    """Return a row for each request: how many were answered, percentiles in ms, and as ratios to the first request."""
    rows: list[dict[str, object]] = []
    base: list[float] = []
    for name, seconds in taken.items():
        answered = [value for value in seconds if np.isfinite(value)]
        found = [1000 * float(np.percentile(answered, rank)) for rank in (50, 99)]
        base = base or found
        row: dict[str, object] = {"request": name, "sent": len(seconds), "answered": len(answered)}
        row |= {"p50 ms": found[0], "p99 ms": found[1], "x p50": found[0] / base[0], "x p99": found[1] / base[1]}
        rows.append(row)
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--events", type=int, default=200, help="events ingested; 0: webhooks only")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--workers", type=int, default=1, help="workers that ingest")
    made.add_argument("--processes", type=int, default=1, help="processes of the API")
    made.add_argument("--minutes", type=float, default=1.0)
    made.add_argument("--rate", type=int, default=200, help="webhooks a second")
    made.add_argument("--earlier", type=Path, metavar="FOLDER", help="a checkout to compare the ingestion with")
    return made


def main() -> None:
    """Measure, print the tables, write the report."""
    arguments = parser().parse_args()
    checkouts = {"ours": Path.cwd()} | ({"earlier": arguments.earlier.resolve()} if arguments.earlier else {})
    with tempfile.TemporaryDirectory() as folder:
        source = write_source(Path(folder) / "scene")
        ingested = [
            {"worker": name, **ingest(arguments.events, source, checkout, arguments.workers)}
            for _ in range(arguments.repeats if arguments.events else 0)
            for name, checkout in checkouts.items()
        ]
        print(markdown(ingested) if ingested else "", flush=True)
        received = receive(source, round(60 * arguments.minutes), arguments.rate, arguments.processes)
    print("\n".join(str(row) for row in received))
    speeds = {name: [float(str(row["events/s"])) for row in ingested if row["worker"] == name] for name in checkouts}
    ratios = [a / b for a, b in zip(speeds["ours"], speeds.get("earlier", []), strict=False)]
    publish(
        Result(
            "label_events",
            [*ingested, *received],
            baseline="ingestion by the earlier worker" if ratios else None,
            ratio=statistics.median(ratios) if ratios else None,
            spread=(min(ratios), max(ratios)) if ratios else None,
            conditions={
                "workers": arguments.workers,
                "processes of the API": arguments.processes,
                "minutes": arguments.minutes,
                "webhooks a second": arguments.rate,
            },
        )
    )


if __name__ == "__main__":
    main()
