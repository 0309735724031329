"""``glacier-al up`` as its user meets it: every server real, on one machine, and modest when idle."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4
from xmlrpc.client import ServerProxy

import httpx
import numpy as np
import psutil
import pytest
from sqlalchemy import select
from supervisor.xmlrpc import SupervisorTransport

from catalog import jobs
from catalog.context import Catalog
from catalog.records import (
    EventState,
    Job,
    JobKind,
    JobState,
    Label,
    LabelEvent,
    Proposal,
    ProposalState,
    Scene,
    SceneState,
)
from catalog.secrets import load_or_create
from catalog.settings import Settings
from cli.simulated_annotator import draw
from imagery.classes import CLEAN_ICE, GLACIER_SCHEME
from imagery.store import RasterStore
from labeling.client import LabelStudio
from tests.imagery.forge import forge_scene
from tests.real_services import free_port, running, wait_until

MEMORY_BYTES = 2.5e9
IDLE_CORE_SHARE = 0.05
WINDOWS = 3
BACK_S = 10
STOP_S = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = [str(Path(sys.executable).with_name("glacier-al")), "up"]


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    var_dir: Path
    environment: dict[str, str]
    log: Path
    taken_port: int
    ready_after_s: float

    @property
    def output(self) -> str:
        return self.log.read_text()

    def address(self, title: str) -> str:
        found = re.search(rf"^  {title} +(http://127\.0\.0\.1:\d+)", self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    def tree(self) -> list[psutil.Process]:
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def pids(self) -> dict[str, int]:
        """The process of each part, 0 for one that does not run."""
        supervisord = (self.var_dir / "supervisor" / "supervisord.pid").read_text().strip()
        socket = f"unix:///proc/{supervisord}/cwd/supervisor.sock"  # the path of a socket has to be short
        with ServerProxy("http://localhost", SupervisorTransport(None, None, socket)) as server:
            return {item["name"]: item["pid"] for item in server.supervisor.getAllProcessInfo()}

    def check_the_loop(self) -> None:
        """Wait until everybody has done what the loop needs them for.

        The clock finds work in the rows and hands it to each worker by Redis; theirs needs Label Studio or MLflow.
        """
        addresses = json.loads((self.var_dir / "running.json").read_text())
        catalog = Catalog(Settings(var_dir=self.var_dir, **addresses))
        try:
            with catalog.database.write() as session:  # and nobody tells Redis: that is left to the clock
                event = LabelEvent(dedupe_key=uuid4().hex, action="ANNOTATION_CREATED", origin="webhook", body=b"{}")
                session.add(event)
                session.flush()
                jobs.enqueue(session, JobKind.INGEST_LABEL, str(event.id), event_id=event.id)
                asked = [
                    jobs.enqueue(session, JobKind.SYNC_LABEL_STUDIO, "check"),
                    jobs.enqueue(session, JobKind.SCORE_POOL, "check"),  # asks MLflow for a champion; there is none
                ]

            def done() -> bool:
                with catalog.read() as session:
                    read = session.get_one(LabelEvent, event.id).state is EventState.FAILED  # it is empty
                    return read and all(session.get_one(Job, job.id).state is JobState.FINISHED for job in asked)

            wait_until(done, self.process, self.log)
        finally:
            catalog.close()
        operator = {"Authorization": f"Bearer {catalog.secrets.operator_token}"}
        wait_until(
            lambda: (
                _answers(f"{addresses['api_url']}/api/v1/rounds", operator)
                and _answers(f"{addresses['api_url']}/readyz", {})
            ),
            self.process,
            self.log,
        )


def _answers(url: str, headers: dict[str, str]) -> bool:
    try:
        return httpx.get(url, headers=headers, timeout=10).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("up")
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        taken_port = occupant.getsockname()[1]
        environment = {
            "GLACIER_AL_VAR_DIR": str(folder / "var"),
            "GLACIER_AL_API_URL": f"http://127.0.0.1:{taken_port}",
            "GLACIER_AL_LABEL_STUDIO_URL": f"http://127.0.0.1:{free_port()}",
            "GLACIER_AL_MLFLOW_URL": f"http://127.0.0.1:{free_port()}",
            "GLACIER_AL_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        }
        log = folder / "up.txt"
        start = time.monotonic()
        with running(PROGRAM, environment, log=log) as process:
            wait_until(lambda: "Everything is ready." in log.read_text(), process, log)
            ready_after_s = time.monotonic() - start
            yield Running(process, folder / "var", environment, log, taken_port, ready_after_s)


def test_it_names_the_port_that_was_taken(system: Running):
    assert f"Port {system.taken_port} is taken; the API uses " in system.output
    assert system.address("Server") != f"http://127.0.0.1:{system.taken_port}"


def test_every_address_it_prints_answers(system: Running):
    secrets = load_or_create(system.var_dir / "secrets.json")
    assert secrets.operator_token in system.output
    assert f"admin  password {secrets.administrator_password}" in system.output
    assert secrets.label_studio_password in system.output
    assert httpx.get(f"{system.address('Server')}/healthz").status_code == httpx.codes.OK
    assert httpx.get(f"{system.address('MLflow')}/health").text == "OK"
    token = {"Authorization": f"Token {secrets.label_studio_token}"}
    who = httpx.get(f"{system.address('Label Studio')}/api/current-user/whoami", headers=token)
    assert who.json()["email"] == secrets.label_studio_email


def test_nobody_else_reads_what_it_keeps_or_reaches_mlflow(system: Running):
    paths = [system.var_dir, *system.var_dir.rglob("*")]
    assert len(paths) > 30
    assert not [path for path in paths if not path.is_symlink() and stat.S_IMODE(path.lstat().st_mode) & 0o077]
    secrets = load_or_create(system.var_dir / "secrets.json")
    mlflow = f"{system.address('MLflow')}/api/2.0/mlflow"
    search = f"{mlflow}/registered-models/search"
    assert httpx.get(search).status_code == httpx.codes.UNAUTHORIZED
    assert httpx.get(search, auth=("glacier-al", "wrong")).status_code == httpx.codes.UNAUTHORIZED
    assert httpx.get(search, auth=("glacier-al", secrets.mlflow_password)).status_code == httpx.codes.OK
    alias = {"name": "glacier-segmenter", "alias": "champion", "version": "1"}
    assert httpx.post(f"{mlflow}/registered-models/alias", json=alias).status_code == httpx.codes.UNAUTHORIZED


def test_no_command_line_shows_a_secret(system: Running):
    secrets = load_or_create(system.var_dir / "secrets.json")
    lines = [" ".join(process.cmdline()) for process in system.tree()]
    shown = [secrets.mlflow_password, secrets.administrator_password]
    shown += [secrets.redis_password, secrets.label_studio_password, secrets.operator_token, secrets.label_studio_token]
    assert not [line for line in lines for secret in shown if secret in line]


def test_a_second_one_on_the_same_folder_is_refused(system: Running):
    second = subprocess.run(
        PROGRAM, env={**os.environ, **system.environment}, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"Another `glacier-al up` (process {system.process.pid}) runs on {system.var_dir}." in second.stderr


def test_it_is_modest_when_idle(system: Running, record_property):
    def cpu_seconds() -> float:
        return sum(process.cpu_times().user + process.cpu_times().system for process in system.tree())

    def core_share() -> float:
        before, window_s = cpu_seconds(), 30
        time.sleep(window_s)
        return (cpu_seconds() - before) / window_s

    time.sleep(15)  # what a start leaves to do is done
    shares = [core_share()]
    while min(shares) > IDLE_CORE_SHARE and len(shares) < WINDOWS:  # a busy neighbour makes the same work dearer
        shares.append(core_share())
    share = min(shares)
    # Proportional set size: memory that processes share, as forks do, counts once.
    memory = sum(process.memory_full_info().pss for process in system.tree())
    record_property("ready_after_s", round(system.ready_after_s, 1))
    record_property("idle_core_share", round(share, 4))
    record_property("memory_bytes", memory)
    print(f"ready {system.ready_after_s:.1f} s, idle {share:.1%} of a core, {memory / 1e9:.2f} GB")
    assert memory <= MEMORY_BYTES
    assert share <= IDLE_CORE_SHARE


PARTS = [
    "redis",
    "mlflow",
    "label-studio",
    "api",
    "worker-labels",
    "worker-io",
    "worker-upkeep",
    "worker-compute",
    "clock",
]


@pytest.mark.parametrize(
    ("name", "with_children"),
    [*((name, False) for name in PARTS), ("mlflow", True)],
    ids=[*PARTS, "mlflow and its child"],
)
def test_a_killed_part_comes_back_by_itself(system: Running, name: str, with_children: bool, record_property):
    before = system.pids()[name]
    family = [psutil.Process(before), *(psutil.Process(before).children(recursive=True) if with_children else [])]
    killed_at = time.monotonic()
    for process in family:
        process.kill()
    wait_until(lambda: system.pids()[name] not in {0, before}, system.process, system.log)
    back_s = time.monotonic() - killed_at
    system.check_the_loop()
    works_s = time.monotonic() - killed_at
    record_property("back_s", round(back_s, 1))
    record_property("works_s", round(works_s, 1))
    print(f"{name}: back after {back_s:.1f} s, the loop works after {works_s:.1f} s")
    assert back_s <= BACK_S
    said = f"\n{name} ended by itself and is started again.\n"
    wait_until(lambda: said in system.output, system.process, system.log)


@dataclass(frozen=True)
class Loop:
    """The loop of a folder on which `up` runs: its API, its rows, and an annotator."""

    var_dir: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def settings(self) -> Settings:
        return Settings(var_dir=self.var_dir, **json.loads((self.var_dir / "running.json").read_text()))

    def post(self, path: str, body: dict[str, object]) -> None:
        token = load_or_create(self.var_dir / "secrets.json").operator_token
        address = f"{self.settings.api_url}/api/v1/{path}"
        httpx.post(address, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60).raise_for_status()

    def proposals(self) -> list[Proposal]:
        with closing(Catalog(self.settings)) as catalog, catalog.read() as session:
            return list(session.scalars(select(Proposal).order_by(Proposal.id)))

    def labels(self) -> list[Label]:
        with closing(Catalog(self.settings)) as catalog, catalog.read() as session:
            return list(session.scalars(select(Label).order_by(Label.id)))

    def annotate(self, proposal: Proposal) -> None:
        """Draw on the task of a proposal; wait until the drawing is a label."""
        before = len(self.labels())
        studio = LabelStudio(
            self.settings.label_studio_url, load_or_create(self.var_dir / "secrets.json").label_studio_token
        )
        assert proposal.task_id is not None
        mask = np.full((32, 32), CLEAN_ICE.value, dtype=np.uint8)
        studio.annotate(proposal.task_id, draw(mask, GLACIER_SCHEME), lead_time_s=5.0)
        self.wait(lambda: len(self.labels()) == before + 1)

    def wait(self, done: Callable[[], bool]) -> None:
        wait_until(done, self.process, self.log)


def test_a_backup_taken_while_it_runs_carries_on_in_a_fresh_folder(system: Running, tmp_path: Path):
    loop = Loop(system.var_dir, system.process, system.log)
    loop.settings.scene_root.mkdir(exist_ok=True)
    forged = forge_scene(loop.settings.scene_root / "pool.tif")
    bands = [{"name": band.name, "path": "pool.tif", "index": band.index} for band in forged.bands]
    loop.post("scenes", {"name": "pool", "role": "pool", "bands": bands, "patch_size_px": 32})
    loop.wait(lambda: _is_tiled(loop.settings))
    loop.post("rounds", {"strategy": "random", "size": 2})
    loop.wait(lambda: [item.state for item in loop.proposals()] == [ProposalState.PUBLISHED] * 2)
    loop.annotate(loop.proposals()[0])
    _glacier_al(system.environment, "backup", str(tmp_path / "backup"))

    ports = {name: f"http://127.0.0.1:{free_port()}" for name in ("API", "LABEL_STUDIO", "MLFLOW")}
    environment = {f"GLACIER_AL_{name}_URL": url for name, url in ports.items()}
    environment |= {"GLACIER_AL_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    environment |= {"GLACIER_AL_VAR_DIR": str(tmp_path / "fresh")}
    _glacier_al(environment, "restore", str(tmp_path / "backup"))
    log = tmp_path / "up.txt"
    with running(PROGRAM, environment, log=log) as process:
        wait_until(lambda: "Everything is ready." in log.read_text(), process, log)
        restored = Loop(tmp_path / "fresh", process, log)
        (label,) = restored.labels()
        store = RasterStore(restored.settings.raster_store)
        assert len(store.get(label.mask_key, label.mask_sha256)) > 0
        restored.annotate(restored.proposals()[1])
        # On a busy machine a part may be late once.
        wait_until(lambda: httpx.get(f"{restored.settings.api_url}/readyz").is_success, process, log)
        found = json.loads(_glacier_al(environment, "doctor", "--json"))
        assert not [finding for finding in found if finding["level"] == "fault"]
    assert len(loop.labels()) == 1, "the system that was backed up goes its own way"


def _is_tiled(settings: Settings) -> bool:
    with closing(Catalog(settings)) as catalog, catalog.read() as session:
        return session.scalars(select(Scene.state)).all() == [SceneState.READY]


def _glacier_al(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [PROGRAM[0], *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ctrl_c_ends_everything_cleanly(system: Running):
    tree = system.tree()
    os.killpg(system.process.pid, signal.SIGINT)  # a terminal tells the whole foreground group
    assert system.process.wait(STOP_S) == 0
    assert system.output.endswith("Stopping ...\nStopped.\n")
    assert not [process for process in tree if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
