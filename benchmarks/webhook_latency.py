"""How long does Label Studio wait for the answer to its webhook?

``python -m benchmarks.webhook_latency [--events N]``

Starts the API and Redis as ``glacier-al up`` does, with an empty SQLite database. One client, with one open connection,
alternates a new label event (``POST /api/v1/webhooks/label-studio``) with ``GET /healthz``, the shortest answer of the
same process: a drift of the machine affects both alike. Reported are the median and the 99th percentile of both, and
the ratios of the webhook's to those of ``/healthz``. Writes ``var/bench/webhook_latency.json``.
"""

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from benchmarks.report import Result, markdown, publish
from benchmarks.scored_scene import services, wait
from catalog.records import now
from labeling.regions import encode_brush
from labeling.webhook import SECRET_HEADER

PATH: Final = "/api/v1/webhooks/label-studio"
WARM_UP: Final = 20
PATCH_PX: Final = 256


def label_event(number: int) -> bytes:
    """Return the body of a webhook: a new annotation with a brush mask of half a patch, and its prediction."""
    mask = np.zeros((PATCH_PX, PATCH_PX), dtype=bool)
    mask[np.add.outer(range(PATCH_PX), range(PATCH_PX)) < PATCH_PX] = True
    result = [encode_brush(mask, "clean ice", "region")]
    annotation = {"id": number, "was_cancelled": False, "result": result}
    annotation |= dict.fromkeys(("created_at", "updated_at"), now().isoformat())
    task = {"id": number, "project": 1, "data": {}}
    sent = {"annotation": annotation | {"prediction": {"result": result}}, "task": task, "project": {"id": 1}}
    return json.dumps({"action": "ANNOTATION_CREATED", **sent}).encode()


def compare(seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return a row for each request: its percentiles in ms, and how many times those of the first request they are."""
    found = {name: [1000 * float(np.percentile(taken, rank)) for rank in (50, 99)] for name, taken in seconds.items()}
    median, slow = next(iter(found.values()))
    return [
        {"request": name, "p50 ms": p50, "p99 ms": p99, "x p50": p50 / median, "x p99": p99 / slow}
        for name, (p50, p99) in found.items()
    ]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--events", type=int, default=1000)
    return made


def main() -> None:
    """Measure, print the table, write the report."""
    events = parser().parse_args().events
    bodies = [label_event(number) for number in range(1, WARM_UP + events + 1)]
    with tempfile.TemporaryDirectory() as folder, services(Path(folder), "redis", "api") as running:
        secret = {SECRET_HEADER: running.catalog.secrets.webhook_secret, "Content-Type": "application/json"}
        with httpx.Client(base_url=running.catalog.settings.api_url, timeout=30) as client:
            wait(lambda: _is_alive(client), "the API")
            requests = {
                "GET /healthz": lambda _: client.get("/healthz"),
                "POST webhook": lambda body: client.post(PATH, content=body, headers=secret),
            }
            seconds: dict[str, list[float]] = {name: [] for name in requests}
            for body, (name, send) in itertools.product(bodies, requests.items()):
                started = time.perf_counter()
                answer = send(body)
                seconds[name].append(time.perf_counter() - started)
                answer.raise_for_status()
    rows = compare({name: taken[WARM_UP:] for name, taken in seconds.items()})
    print(markdown(rows))
    publish(Result("webhook_latency", rows, conditions={"events": events, "bytes of an event": len(bodies[-1])}))


def _is_alive(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
