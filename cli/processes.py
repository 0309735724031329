"""``glacier-al up``: everything on this machine, under one supervisor, until Ctrl-C."""

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from catalog.secrets import Secrets, load_or_create
from catalog.settings import Settings
from cli.errors import StartError
from cli.plan import Process, data_dir, migration, plan, redis_config, redis_config_file
from cli.ports import choose_ports
from cli.running import published
from cli.supervisor import Supervisor, log_file
from labeling import server as label_studio

START_TIMEOUT_S = 300.0  # Label Studio creates its database at the first start: 30 s alone, minutes on a busy machine
_LOG_BYTES = 10 * 2**20
_LOG_GENERATIONS = 3
_TAIL_LINES = 20


def up(settings: Settings, say: Callable[[str], None] = click.echo) -> None:
    """Run the whole system until Ctrl-C or SIGTERM, then stop it.

    Args:
        settings: The settings; a URL whose port is taken moves to the next free one.
        say: Gets each line of progress, and the summary once everything is ready.

    Raises:
        StartError: Something is missing, did not become ready, or ended by itself.
    """
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    with _sole_use(settings.var_dir):
        secrets = load_or_create(settings.secrets_file)
        settings = choose_ports(settings, secrets.redis_password, say)
        program = _label_studio_program()
        log_dir = _prepare_folders(settings)
        say("Bringing the database to the newest schema")
        _run_to_its_end(migration(settings, environ=os.environ, cwd=Path.cwd()), log_dir)
        processes = plan(settings, secrets, label_studio_program=program, environ=os.environ, cwd=Path.cwd())
        say(f"Starting {', '.join(process.name for process in processes)}")
        with published(settings):
            _supervise(settings, secrets, processes, log_dir, say)


def _supervise(
    settings: Settings,
    secrets: Secrets,
    processes: Sequence[Process],
    log_dir: Path,
    say: Callable[[str], None],
) -> None:
    started = datetime.now(UTC)
    late: list[str] = []

    def announce() -> None:
        # Imported when the processes have been forked off: each would otherwise carry these libraries along.
        from cli.readiness import checks, wait_until_ready

        missing = wait_until_ready(
            checks(settings, started), say=say, give_up=lambda: supervisor.stopping, timeout_s=START_TIMEOUT_S
        )
        if not missing:
            say(summary(settings, secrets, log_dir))
        elif not supervisor.stopping:
            late.extend(missing)
            supervisor.terminate()

    supervisor = Supervisor(processes, log_dir, on_start=announce, on_stop=lambda: say("Stopping ..."))
    supervisor.loop()
    if supervisor.failed is not None:
        name, code = supervisor.failed
        raise StartError(f"{name} ended unexpectedly with exit code {code}.\n{_tail(log_file(log_dir, name))}")
    if late:
        tails = "\n".join(_tail(log_file(log_dir, name)) for name in late)
        raise StartError(f"Not ready after {START_TIMEOUT_S:.0f} s: {', '.join(late)}.\n{tails}")
    say("Stopped.")


def summary(settings: Settings, secrets: Secrets, log_dir: Path) -> str:
    """Compose what the operator needs to know: addresses, log-in, token and logs."""
    rows = {
        "Server": f"{settings.api_url}  (API: {settings.api_url}/docs)",
        "Operator token": secrets.operator_token,
        "Label Studio": settings.label_studio_url,
        "  log-in": f"{secrets.label_studio_email}  password {secrets.label_studio_password}",
        "MLflow": settings.mlflow_url,
        "Logs": str(log_dir),
    }
    lines = [f"  {title:<16}{value}" for title, value in rows.items()]
    return "\n".join(["", "Everything is ready.", *lines, "  Ctrl-C stops everything.", ""])


@contextmanager
def _sole_use(var_dir: Path) -> Iterator[None]:
    path = var_dir / "up.lock"
    with path.open("a+") as file:
        try:
            # honcho's processes inherit this lock: it is free again when the last of them is gone.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = path.read_text().strip()
            raise StartError(
                f"Another `glacier-al up` (process {owner}) runs on {var_dir}. Stop it with Ctrl-C or `kill {owner}`, "
                "or name another folder in GLACIER_AL_VAR_DIR."
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _label_studio_program() -> Path:
    try:
        return label_studio.executable()
    except FileNotFoundError as error:
        raise StartError(str(error)) from error


def _prepare_folders(settings: Settings) -> Path:
    for name in ("redis", "mlflow", "label-studio", "logs"):
        data_dir(settings, name).mkdir(mode=0o700, parents=True, exist_ok=True)
    config_file = redis_config_file(settings)
    config_file.touch(mode=0o600)
    config_file.chmod(0o600)
    config_file.write_text(redis_config(settings))
    log_dir = data_dir(settings, "logs")
    for path in log_dir.glob("*.log"):
        if path.stat().st_size > _LOG_BYTES:
            _rotate(path)
    return log_dir


def _rotate(path: Path) -> None:
    for generation in range(_LOG_GENERATIONS - 1, 0, -1):
        older = path.with_name(f"{path.name}.{generation}")
        if older.exists():
            older.rename(path.with_name(f"{path.name}.{generation + 1}"))
    path.rename(path.with_name(f"{path.name}.1"))


def _run_to_its_end(process: Process, log_dir: Path) -> None:
    log = log_file(log_dir, process.name)
    with log.open("ab") as output:
        done = subprocess.run(
            process.argv, env=process.env, cwd=process.cwd, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode != 0:
        raise StartError(f"{process.name} failed with exit code {done.returncode}.\n{_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join([f"The end of {log}:", *(f"  {line}" for line in lines)])
