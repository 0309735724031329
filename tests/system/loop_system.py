"""Our own processes around the real services, and the steps of the loop as people and programs take them."""

import dataclasses
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from catalog import training
from catalog.context import Catalog
from catalog.records import Job, JobState, Patch, Proposal, ProposalState, Round
from catalog.secrets import Secrets
from catalog.settings import Settings
from cli.plan import plan
from cli.simulated_annotator import draw
from imagery.classes import GLACIER_SCHEME
from labeling.client import LabelStudio
from tests.real_services import running

T = TypeVar("T")

POLL_S = 0.1
WAIT_S = 150.0
EXPERT = ("expert@glacier.local", "ice cold password")


class LoopSystem:
    """The API, both workers and the clock as `glacier-al up` starts them; Redis, MLflow and Label Studio run already.

    Attributes:
        settings: Those of the processes that run now.
        secrets: Those of the installation.
        catalog: Rows, to look into.
        administrator: Label Studio as our server uses it.
        expert: Label Studio as an invited annotator.
        truth: (H, W) class values of the pool, which only the annotator knows.
        drawn: Annotation id to the mask that the expert drew through the API.
    """

    def __init__(self, settings: Settings, secrets: Secrets, truth: NDArray[np.uint8]) -> None:
        self.settings = settings
        self.secrets = secrets
        settings.var_dir.mkdir(parents=True, exist_ok=True)
        settings.secrets_file.write_text(json.dumps(dataclasses.asdict(secrets)))
        self.catalog = Catalog(settings)
        self.catalog.database.migrate()
        self.administrator = LabelStudio(settings.label_studio_url, secrets.label_studio_token)
        self.administrator.invite_user(*EXPERT)
        self.expert = LabelStudio(settings.label_studio_url, self.administrator.user_token(*EXPERT))
        self.truth = truth
        self.drawn: dict[int, NDArray[np.uint8]] = {}
        self._processes: dict[str, ExitStack] = {}

    # Processes

    def start(self, **changes: Any) -> None:
        """Start our own processes, with some settings changed, and wait until all parts are ready."""
        self.settings = Settings(**{**self.settings.model_dump(), **changes})
        folder = self.settings.var_dir
        for process in plan(self.settings, self.secrets, label_studio_program=Path(), environ={}, cwd=folder):
            if not process.is_service:
                stack = self._processes[process.name] = ExitStack()
                stack.enter_context(running(process.argv, process.env, log=folder / f"{process.name}.log"))
        self.wait("all parts to be ready", self._ready)

    def stop(self, *names: str) -> None:
        """Stop some of our own processes; all of them if none is named."""
        for name in names or list(self._processes):
            self._processes.pop(name).close()

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.settings.api_url}/readyz", timeout=10).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    # The API, as an operator

    def get(self, path: str, **query: Any) -> Any:
        return self.request("GET", path, params=query).json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self.request("POST", path, json=body).json()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.secrets.operator_token}", **options.pop("headers", {})}
        address = f"{self.settings.api_url}/api/v1/{path}"
        response = httpx.request(method, address, headers=headers, timeout=30, **options)
        assert response.status_code < httpx.codes.BAD_REQUEST, response.text
        return response

    def prediction(self, scene_id: int, suffix: str) -> httpx.Response:
        """Ask for the champion's map of a scene until it is made."""

        def made() -> httpx.Response | None:
            response = self.request("GET", f"scenes/{scene_id}/prediction.{suffix}")
            return response if response.status_code == httpx.codes.OK else None

        return self.wait("the prediction", made)

    def wait(self, what: str, done: Callable[[], T | None]) -> T:
        """Ask again and again until `done` returns something true, and return that."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            found = done()
            if found:
                return found
            failed = [(job.kind.value, job.error) for job in self.jobs(JobState.FAILED)]
            assert not failed, f"while waiting for {what}: {failed}\n{self._logs()}"
            time.sleep(POLL_S)
        raise AssertionError(f"{what} did not happen within {WAIT_S} s\n{self._logs()}")

    def wait_until_idle(self) -> None:
        """Wait until no work is left to do, and none that is due."""

        def is_idle() -> bool:
            with self.catalog.write() as session:
                training.enqueue_if_due(session, self.settings)  # as the clock does, some time later
            return not self.jobs(JobState.QUEUED, JobState.RUNNING)

        self.wait("the end of all jobs", is_idle)

    def jobs(self, *states: JobState) -> list[Job]:
        with self.catalog.read() as session:
            return list(session.scalars(select(Job).where(Job.state.in_(states)).order_by(Job.created_at)))

    # Rounds

    def open_round(self, **request: Any) -> int:
        """Open a round through the API and wait until its tasks are in Label Studio."""
        number = self.post("rounds", request)["round"]["id"]
        self.wait(f"round {number} to open", lambda: self.get(f"rounds/{number}")["state"] == "open")
        return number

    def proposals(self, round_id: int) -> list[Proposal]:
        """The proposals of a round, most urgent first."""
        with self.catalog.read() as session:
            return list(session.get_one(Round, round_id).proposals)

    def truth_of(self, proposal: Proposal) -> NDArray[np.uint8]:
        """What the expert knows of a proposed patch, (h, w)."""
        with self.catalog.read() as session:
            patch = session.get_one(Patch, proposal.patch_id)
        rows, cols = (
            slice(patch.row_off, patch.row_off + patch.size_px),
            slice(patch.col_off, patch.col_off + patch.size_px),
        )
        return self.truth[rows, cols]

    def label(self, proposal: Proposal) -> int:
        """Let the expert draw the truth of a patch; return the annotation's id."""
        assert proposal.task_id is not None
        mask = self.truth_of(proposal)
        annotation_id = self.expert.annotate(proposal.task_id, draw(mask, GLACIER_SCHEME), lead_time_s=20.0)
        self.drawn[annotation_id] = mask
        return annotation_id

    def delete_annotation(self, annotation_id: int) -> None:
        self._label_studio("DELETE", f"annotations/{annotation_id}/")

    def delete_task(self, proposal: Proposal) -> None:
        self._label_studio("DELETE", f"tasks/{proposal.task_id}/")

    def _label_studio(self, method: str, path: str) -> httpx.Response:
        """Call Label Studio's API as its administrator."""
        token = {"Authorization": f"Token {self.secrets.label_studio_token}"}
        address = f"{self.settings.label_studio_url}/api/{path}"
        return httpx.request(method, address, headers=token, timeout=30).raise_for_status()

    def task(self, proposal: Proposal) -> dict[str, Any]:
        """A task as Label Studio holds it, predictions included."""
        found: dict[str, Any] = self._label_studio("GET", f"tasks/{proposal.task_id}/").json()
        return found

    def state_of(self, proposal: Proposal) -> ProposalState:
        with self.catalog.read() as session:
            return session.get_one(Proposal, proposal.id).state

    def wait_for_state(self, proposal: Proposal, state: ProposalState) -> None:
        self.wait(f"proposal {proposal.id} to be {state}", lambda: self.state_of(proposal) is state)

    def finish_round(self, round_id: int) -> None:
        """Let the expert answer what is left of a round, and wait until the work that follows is done."""
        for proposal in self.proposals(round_id):
            if proposal.state == "published":
                self.label(proposal)
        self.wait(f"round {round_id} to be complete", lambda: self.get(f"rounds/{round_id}")["state"] == "complete")
        self.wait_until_idle()

    def _logs(self) -> str:
        logs = sorted(self.settings.var_dir.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in logs)
