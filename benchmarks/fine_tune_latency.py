"""How long does it take from the last needed label until the new version is served, by stage, in the real system?

``python -m benchmarks.fine_tune_latency [--versions N] [--steps N]``

Starts ``glacier-al up`` in a temporary folder, with Label Studio, MLflow and Redis, on the Everest scene with the
settings of the demo; the gate is set to promote every version. In each round all patches but one are labelled and
ingested. The clock starts with the event of the last label, and stops when ``GET /api/v1/models/latest`` returns the
new version. The first version differs from the others: it has no parent, and its ONNX graph has to be traced. Writes
``var/bench/fine_tune_latency.json``.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psutil
import requests
from numpy.typing import NDArray
from sqlalchemy import func, select

from benchmarks.idle_cost import running
from benchmarks.report import Result, markdown, publish
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState, LabelEvent, Patch, TrainingRun, now
from cli.demo import DEMO_SETTINGS
from cli.everest import everest_scenes
from cli.running import running_settings
from cli.scene_commands import register_here
from cli.server import wait_for_jobs, wait_until
from cli.simulated_annotator import draw
from glacier_al_client.client import Client
from glacier_al_client.types import RoundRequest
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.everest import prepare
from imagery.masks import rasterize_outlines
from labeling.client import LabelStudio
from services.label_studio import connect
from services.scenes import window_of

LET_THROUGH: Final = {"gate_margin": "1", "gate_class_margin": "1"}
STAGES: Final = ("load", "evaluate", "train", "export", "register", "promote")
POLL_S: Final = 0.05
WAIT_S: Final = 300.0
REAPED_S: Final = 0.2  # by then a worker has reaped the process of a job that ended
OPEN: Final = (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class AnnotatedSystem:
    """The running system, with an annotator who draws the truth."""

    catalog: Catalog
    api: Client
    studio: LabelStudio
    project_id: int
    truth: NDArray[Any]

    def annotate(self, task: Any) -> None:
        """Submit the true classes of a task's patch."""
        with self.catalog.read() as session:
            window = window_of(session.get_one(Patch, task["data"]["patch_id"]))
        self.studio.annotate(task["id"], draw(self.truth[window.slices], GLACIER_SCHEME), lead_time_s=1.0)

    def waiting_tasks(self) -> list[Any]:
        """Return the tasks without an annotation."""
        return [task for task in self.studio.changed_tasks(self.project_id, None) if not task["annotations"]]

    def wait_until_idle(self) -> None:
        """Wait until no job is queued or running."""

        def idle() -> bool:
            with self.catalog.read() as session:
                return session.scalar(select(Job.id).where(Job.state.in_(OPEN)).limit(1)) is None

        wait_until(self.api, "the end of all jobs", idle)


def open_system() -> AnnotatedSystem:
    """Register the Everest scene with the running system, and return the two with their project."""
    catalog = Catalog(running_settings())
    settings = catalog.settings
    api = Client(settings.api_url, catalog.secrets.operator_token)
    everest = prepare(settings.scene_root / "everest")
    for request in everest_scenes(everest):
        register_here(request)
    wait_until(api, "the scenes", lambda: all(scene.state == "ready" for scene in api.scenes()))
    studio = LabelStudio(settings.label_studio_url, catalog.secrets.label_studio_token)
    truth = rasterize_outlines(everest.outlines, describe(everest.bands, everest.regions["pool"]).grid, GLACIER_SCHEME)
    return AnnotatedSystem(catalog, api, studio, connect(catalog, studio), truth)


def run_round(system: AnnotatedSystem, number: int, cpu_seconds: Callable[[], float]) -> dict[str, Any]:
    """Label a round; return the seconds of each stage from its last label to the version that learnt from it."""
    system.api.open_round(RoundRequest(seed=number, strategy="recipe"))
    wait_until(system.api, "the round", lambda: system.api.round(number).state == "open")
    *others, last = system.waiting_tasks()
    for task in others:
        system.annotate(task)
    system.wait_until_idle()
    cpu_before = cpu_seconds()
    system.annotate(last)
    wait_until(system.api, "the fine-tune", lambda: _runs(system) == number)
    served_at = _served(system.catalog, number)
    wait_for_jobs(system.api, "the end of the fine-tune", "fine_tune")
    time.sleep(REAPED_S)
    cpu = cpu_seconds() - cpu_before  # of ingestion and fine-tune; the scoring that follows has not ended yet
    system.wait_until_idle()
    return {"version": number, **_stages(system, number, served_at), "user CPU": cpu}


def _runs(system: AnnotatedSystem) -> int:
    with system.catalog.read() as session:
        return session.scalar(select(func.count(TrainingRun.id))) or 0


def _served(catalog: Catalog, version: int) -> datetime:
    """Poll the served version until it is this one; return that time."""
    address = f"{catalog.settings.api_url}/api/v1/models/latest"
    token = {"Authorization": f"Bearer {catalog.secrets.operator_token}"}
    give_up_at = time.monotonic() + WAIT_S
    while time.monotonic() < give_up_at:
        answer = requests.get(address, headers=token, timeout=30)
        if answer.ok and answer.json()["version"] == version:  # 404 before the first version
            return now()
        time.sleep(POLL_S)
    raise RuntimeError(f"version {version} was not served within {WAIT_S:.0f} s; the last answer: {answer.text}")


def _stages(system: AnnotatedSystem, number: int, served_at: datetime) -> dict[str, float]:
    """Return the seconds of each stage of a version, from the rows of its last label, job and training run."""
    with system.catalog.read() as session:
        run = session.scalars(select(TrainingRun).where(TrainingRun.model_version == number)).one()
        job = session.scalars(
            select(Job).where(Job.kind == JobKind.FINE_TUNE).order_by(Job.created_at.desc()).limit(1)
        ).one()
        received_at = session.scalars(
            select(LabelEvent.received_at).order_by(LabelEvent.received_at.desc()).limit(1)
        ).one()
    assert job.started_at is not None and run.seconds is not None
    of_job = {stage: float(run.seconds.get(stage, 0.0)) for stage in STAGES}
    until_promoted = (job.started_at - received_at).total_seconds() + sum(of_job.values())
    total = (served_at - received_at).total_seconds()
    return {
        "ingest": (job.created_at - received_at).total_seconds(),
        "start": (job.started_at - job.created_at).total_seconds(),
        **of_job,
        "serve": max(0.0, total - until_promoted),
        "total": total,
        "not training": total - of_job["train"],
    }


def workers_cpu(root: psutil.Process) -> Callable[[], float]:
    """Return a clock of the user CPU seconds of all ended jobs, which are the children of the workers."""
    workers = [process for process in root.children(recursive=True) if "workers.main" in process.cmdline()]

    def seconds() -> float:
        return sum(float(process.cpu_times().children_user) for process in workers if process.is_running())

    return seconds


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--versions", type=_versions, default=6, help="at least 2: the first has no parent")
    made.add_argument(
        "--steps", type=int, default=int(DEMO_SETTINGS["fine_tune_steps"]), help="optimiser steps of each training"
    )
    return made


def _versions(text: str) -> int:
    versions = int(text)
    if versions < 2:
        raise argparse.ArgumentTypeError(f"found {versions}, expected at least 2: the first is a row of its own")
    return versions


def main() -> None:
    """Measure, print the table, write the report."""
    given = parser().parse_args()
    settings = {**DEMO_SETTINGS, **LET_THROUGH, "fine_tune_steps": str(given.steps)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_folder = {"var_dir": str(folder / "var"), **settings}
        os.environ |= {f"GLACIER_AL_{key}".upper(): value for key, value in in_folder.items()}
        with running(folder) as (root, _):
            system = open_system()
            clock = workers_cpu(root)
            rows = [run_round(system, number, clock) for number in range(1, given.versions + 1)]
            system.catalog.close()
    print(markdown(rows))
    later = [row["not training"] for row in rows[1:]]
    print(f"\nNot training, median of versions 2 to {given.versions}: {statistics.median(later):.2f} s")
    publish(Result(name="fine_tune_latency", figures=rows, conditions={"settings": settings}))


if __name__ == "__main__":
    main()
