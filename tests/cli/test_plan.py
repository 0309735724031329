"""What the processes of one machine are, and that none of them shows a secret."""

import dataclasses
import platform
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from catalog.secrets import Secrets
from catalog.settings import Settings
from cli.devices import visible_gpus
from cli.plan import WORKER_STOP_S, Process, migration, plan, redis_config, redis_config_file
from cli.processes import _prepare_folders
from tests.real_services import free_port, running, wait_until
from workers.worker_base import STOP_GRACE_S

SECRETS = Secrets(redis_password="0123456789abcdef" * 2)
ENVIRON = {
    "PATH": "/usr/bin",
    "HOST": "shell",
    "DEBUG": "1",
    "AWS_SECRET_ACCESS_KEY": "of the store",
    "CUDA_VISIBLE_DEVICES": "",  # whatever GPUs this machine has
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(var_dir=tmp_path / "var", redis_url=f"redis://:{SECRETS.redis_password}@127.0.0.1:{free_port()}/0")


@pytest.fixture
def processes(settings: Settings, tmp_path: Path) -> dict[str, Process]:
    listed = plan(settings, SECRETS, label_studio_program=Path("/opt/bin/label-studio"), environ=ENVIRON, cwd=tmp_path)
    return {process.name: process for process in listed}


def test_services_start_first_and_stop_last(processes: dict[str, Process]):
    own = ["api", "worker-labels", "worker-io", "worker-upkeep", "worker-compute", "clock"]
    assert list(processes) == ["redis", "mlflow", "label-studio", *own]
    assert [name for name, process in processes.items() if process.is_service] == ["redis", "mlflow", "label-studio"]


def test_no_secret_is_on_a_command_line(processes: dict[str, Process]):
    arguments = " ".join(argument for process in processes.values() for argument in process.argv)
    assert not [value for value in dataclasses.asdict(SECRETS).values() if value in arguments]


def test_a_process_does_not_print_its_environment(processes: dict[str, Process]):
    assert SECRETS.redis_password in processes["api"].env["GLACIER_AL_REDIS_URL"]
    assert SECRETS.redis_password not in repr(processes["api"])


@pytest.mark.parametrize("name", ["redis", "mlflow", "label-studio"])
def test_programs_of_others_see_little_of_our_environment(processes: dict[str, Process], name: str):
    env = processes[name].env
    assert env["PATH"] == "/usr/bin"
    assert not {"HOST", "DEBUG", "AWS_SECRET_ACCESS_KEY"} & set(env)
    assert not [variable for variable in env if variable.startswith("GLACIER_AL_")]


@pytest.mark.parametrize("name", ["api", "worker-labels", "worker-io", "worker-upkeep", "worker-compute", "clock"])
def test_our_processes_read_the_very_same_settings(
    processes: dict[str, Process], settings: Settings, name: str, monkeypatch: pytest.MonkeyPatch
):
    for variable, value in processes[name].env.items():
        monkeypatch.setenv(variable, value)
    assert Settings() == settings
    assert processes[name].env["AWS_SECRET_ACCESS_KEY"] == "of the store"


def test_commands(processes: dict[str, Process], settings: Settings):
    for queue in ("labels", "io", "upkeep", "compute"):
        assert processes[f"worker-{queue}"].argv == (sys.executable, "-m", "workers.main", queue)
    assert processes["clock"].argv == (sys.executable, "-m", "workers.clock")
    assert migration(settings, environ=ENVIRON, cwd=Path()).argv == (sys.executable, "-m", "catalog.migrate")
    mlflow = processes["mlflow"].argv
    assert mlflow[mlflow.index("--workers") + 1] == "1"
    assert mlflow[mlflow.index("--port") + 1] == "5000"


def test_the_malloc_settings_of_the_compute_worker_yield_to_the_callers(settings: Settings):
    listed = plan(
        settings,
        SECRETS,
        label_studio_program=Path("label-studio"),
        environ={"MALLOC_TOP_PAD_": "1"},
        cwd=Path(),
    )
    env = {process.name: process.env for process in listed}["worker-compute"]
    assert env["MALLOC_TOP_PAD_"] == "1"
    assert env["MALLOC_MMAP_MAX_"] == "0"


# Twenty threads allocate at the same time; then glibc tells how many arenas it has made for them.
_COUNT_ARENAS = """
import ctypes, threading
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.fdopen.restype = ctypes.c_void_p, ctypes.c_void_p
libc.fdopen.argtypes, libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_char_p], [ctypes.c_int, ctypes.c_void_p]
together = threading.Barrier(20)
def allocate():
    together.wait()
    for _ in range(100):
        libc.malloc(ctypes.c_size_t(4368))
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, libc.fdopen(1, b"w"))
libc.fflush(None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
def test_the_threads_of_the_api_share_two_arenas(processes: dict[str, Process]):
    told = subprocess.run(
        [sys.executable, "-c", _COUNT_ARENAS], env=processes["api"].env, capture_output=True, text=True, check=True
    )
    assert told.stdout.count("<heap nr=") == 2


def test_redis_starts_from_its_file_asks_for_the_password_and_survives_a_cut_in_what_it_kept(
    processes: dict[str, Process], settings: Settings, tmp_path: Path
):
    _prepare_folders(settings)
    assert stat.S_IMODE(redis_config_file(settings).stat().st_mode) == 0o600
    assert redis_config_file(settings).read_text() == redis_config(settings)
    process = processes["redis"]
    with (
        running(process.argv, process.env, log=tmp_path / "log") as server,
        redis.Redis.from_url(settings.redis_url) as client,
        redis.Redis(port=client.connection_pool.connection_kwargs["port"]) as stranger,
    ):
        wait_until(lambda: _answers(client), server, tmp_path / "log")
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()
        client.set("first", "1")
        client.set("kept", "yes")
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    queues = process.cwd / "appendonly.aof"
    with queues.open("r+b") as file:
        file.truncate(queues.stat().st_size - 3)  # as a kill in the middle of a write leaves it
    with (
        running(process.argv, process.env, log=tmp_path / "log") as server,
        redis.Redis.from_url(settings.redis_url) as client,
    ):
        wait_until(lambda: _answers(client), server, tmp_path / "log")
        assert client.get("first") == b"1"
        assert client.get("kept") is None
    queues.write_bytes(bytes(100))  # as a power cut may leave it
    _prepare_folders(settings)
    assert not queues.exists()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_label_studio_gets_the_origins_of_a_proxy(settings: Settings):
    environ = {"LABEL_STUDIO_CSRF_TRUSTED_ORIGINS": "https://labels.example", "LABEL_STUDIO_DEBUG": "true"}
    listed = plan(settings, SECRETS, label_studio_program=Path("label-studio"), environ=environ, cwd=Path())
    (env,) = (process.env for process in listed if process.name == "label-studio")
    assert env["LABEL_STUDIO_CSRF_TRUSTED_ORIGINS"] == "https://labels.example"
    assert env["LABEL_STUDIO_DEBUG"] == "false"


def compute_workers(settings: Settings, environ: dict[str, str], **changes: object) -> dict[str, Process]:
    settings = settings.model_copy(update=changes)
    listed = plan(settings, SECRETS, label_studio_program=Path("label-studio"), environ=environ, cwd=Path())
    return {process.name: process for process in listed if process.name.startswith("worker-compute")}


def test_every_gpu_has_a_compute_worker_of_its_own(settings: Settings):
    workers = compute_workers(settings, {"CUDA_VISIBLE_DEVICES": "2,5"})
    assert {name: worker.env["CUDA_VISIBLE_DEVICES"] for name, worker in workers.items()} == {
        "worker-compute": "2",
        "worker-compute-2": "5",
    }


def test_without_gpus_several_compute_workers_share_the_cores(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    workers = compute_workers(settings, {"CUDA_VISIBLE_DEVICES": ""}, compute_workers=3)
    assert [worker.env["OMP_NUM_THREADS"] for worker in workers.values()] == ["2", "2", "2"]
    assert "OMP_NUM_THREADS" not in compute_workers(settings, {"CUDA_VISIBLE_DEVICES": ""})["worker-compute"].env
    on_cpu = compute_workers(settings, {"CUDA_VISIBLE_DEVICES": "0,1"}, device="cpu")
    assert list(on_cpu) == ["worker-compute"]


def test_gpus_are_counted_where_the_driver_lists_them(tmp_path: Path):
    for address in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / address).mkdir()
    assert visible_gpus({}, tmp_path) == ["0", "1"]
    assert visible_gpus({}, tmp_path / "missing") == []
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path) == []


def test_a_worker_hands_its_job_back_before_the_supervisor_kills_both() -> None:
    assert STOP_GRACE_S + 3 < WORKER_STOP_S


def test_several_workers_of_label_events_are_started_if_asked_for(settings: Settings):
    changed = settings.model_copy(update={"label_workers": 2})
    listed = plan(changed, SECRETS, label_studio_program=Path("label-studio"), environ={}, cwd=Path())
    workers = {process.name: process.argv[-1] for process in listed if process.name.startswith("worker-labels")}
    assert workers == {"worker-labels": "labels", "worker-labels-2": "labels"}


def test_several_processes_of_the_api_are_started_if_asked_for(settings: Settings):
    changed = settings.model_copy(update={"api_processes": 2})
    listed = plan(changed, SECRETS, label_studio_program=Path("label-studio"), environ={}, cwd=Path())
    apis = {process.name: process.argv[-1] for process in listed if process.name.startswith("api")}
    assert apis == {"api": "al_server.main", "api-2": "al_server.main"}
