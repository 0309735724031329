"""``glacier-al up``: run the whole system on this machine under one supervisor until Ctrl-C."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import click

from catalog.database import Database
from catalog.errors import ConflictError
from catalog.mlflow_log_in import USER as MLFLOW_USER
from catalog.secrets import Secrets, load_or_create
from catalog.settings import Settings
from cli.closing import close_to_others
from cli.errors import StartError
from cli.launch import LOCK
from cli.plan import Process, data_dir, migration, mlflow_users_file, plan, redis_config, redis_config_file
from cli.ports import choose_ports
from cli.readiness import checks
from cli.restore import UNFINISHED
from cli.running import lock_file, published
from cli.supervisor import FOLDER, Supervisor
from cli.watch import Watch, tail
from labeling import server as label_studio
from services import first_access
from services.class_scheme import agreed_scheme

_INTERVAL_S = 1.0
_LOCK_S = 1.0  # other commands hold the lock for a moment to check whether the system runs
_EARLIER_S = 60.0  # longer than the longest orderly stop


def up(settings: Settings, say: Callable[[str], None] = click.echo) -> None:
    """Run the whole system until Ctrl-C or SIGTERM, then stop it. Processes that end are restarted.

    Args:
        settings: The settings; a URL whose port is taken moves to the next free one.
        say: Gets each message: progress, the summary once everything is ready, and ended or restarted parts.

    Raises:
        StartError: A part is missing or fails to start, or the supervisor itself was killed.
    """
    settings.var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (settings.var_dir / UNFINISHED).exists():
        raise StartError(
            f"{settings.var_dir} was not restored to the end; delete it and run `glacier-al restore` again"
        )
    close_to_others(settings.var_dir)
    with _exclusive_use(settings.var_dir):
        _wait_for_earlier_programs(settings.var_dir, say)
        secrets = load_or_create(settings.secrets_file)
        settings = choose_ports(settings, secrets.redis_password, say)
        program = _label_studio_program()
        _prepare_folders(settings)
        say("Bringing the database to the newest schema")
        _run_and_wait(migration(settings, environ=os.environ, cwd=Path.cwd()), data_dir(settings, "logs"))
        entry = _check_database(settings, secrets)
        processes = plan(settings, secrets, label_studio_program=program, environ=os.environ, cwd=Path.cwd())
        say(f"Starting {', '.join(process.name for process in processes)}")
        with published(settings), _Interrupts() as interrupts:
            _supervise(settings, secrets, entry, processes, interrupts, _saying_if_possible(say))


@dataclass(frozen=True)
class Entry:
    """Which of the secrets of the first start still let somebody in."""

    password_is_good: bool = True
    operator_token_is_good: bool = True


def _check_database(settings: Settings, secrets: Secrets) -> Entry:
    """Refuse a setting that contradicts the class scheme of this installation; let its owner in."""
    database = Database(settings.database_url)
    try:
        first_access.prepare(database, secrets)
        with database.read() as session:
            agreed_scheme(session, settings)
            return Entry(
                first_access.is_first_password_good(session, secrets),
                first_access.is_operator_token_good(session, secrets),
            )
    except ConflictError as error:
        raise StartError(str(error)) from error
    finally:
        database.dispose()


def _saying_if_possible(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return `say` without its errors: a full disk below the output, or a closed pipe, must not stop the system."""

    def tell(text: str) -> None:
        with suppress(OSError):
            say(text)

    return tell


class _Interrupts:
    """Counts stop signals (Ctrl-C, SIGTERM or a closed terminal) during the block."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        kept = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()  # started by nohup
        self._before = {number: signal.signal(number, self._note) for number in self._SIGNALS if number not in kept}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.count += 1


def _supervise(
    settings: Settings,
    secrets: Secrets,
    entry: Entry,
    processes: Sequence[Process],
    interrupts: _Interrupts,
    say: Callable[[str], None],
) -> None:
    watch = Watch(processes, checks(settings), settings.var_dir, say)
    with Supervisor(processes, settings.var_dir) as supervisor:
        settled = False
        while supervisor.runs and not interrupts.count:
            watch.look(supervisor.statuses())
            if watch.settled and not settled:
                settled = True
                say(summary(settings, secrets, entry, watch.missing))
            time.sleep(_INTERVAL_S)
        killed = not interrupts.count
        if not killed:
            _stop(supervisor, interrupts, say)
    if killed:
        log = data_dir(settings, "logs") / "up.log"
        raise StartError(f"supervisord, which runs all parts, ended by itself; they were stopped. {tail(log)}")
    say("Stopped.")


def _stop(supervisor: Supervisor, interrupts: _Interrupts, say: Callable[[str], None]) -> None:
    """Stop all processes in order; a second interrupt kills our own processes, a third one the services, too."""
    say("Stopping ...")
    seen = interrupts.count
    supervisor.stop()
    kills = [supervisor.kill_our_own, supervisor.kill_all]
    while supervisor.runs:
        if interrupts.count > seen and kills:
            seen = interrupts.count
            say("Stopping at once ...")
            kills.pop(0)()
        time.sleep(_INTERVAL_S)


def summary(settings: Settings, secrets: Secrets, entry: Entry, missing: Sequence[str]) -> str:
    """Return the summary for the operator: addresses, log-ins, token, logs, and the parts that are not ready."""
    password = f"password {secrets.administrator_password}" if entry.password_is_good else "with the password you chose"
    rows = (
        ("Server", f"{settings.api_url}  (API: {settings.api_url}/docs)"),
        ("  log-in", f"{first_access.ADMINISTRATOR}  {password}"),
        ("Operator token", secrets.operator_token if entry.operator_token_is_good else "revoked"),
        ("Label Studio", settings.label_studio_url),
        ("  log-in", f"{secrets.label_studio_email}  password {secrets.label_studio_password}"),
        ("MLflow", settings.mlflow_url),
        ("  log-in", f"{MLFLOW_USER}  password {secrets.mlflow_password}"),
        ("Logs", str(data_dir(settings, "logs"))),
    )
    lines = [f"  {title:<16}{value}" for title, value in rows]
    title = f"Not everything is ready; missing: {', '.join(missing)}." if missing else "Everything is ready."
    return "\n".join(["", title, *lines, "  Ctrl-C stops everything.", ""])


@contextmanager
def _exclusive_use(var_dir: Path) -> Iterator[None]:
    path = lock_file(var_dir)
    with path.open("a+") as file:
        if not _lock(file, _LOCK_S):
            owner = path.read_text().strip()
            raise StartError(
                f"Another `glacier-al up` (process {owner}) runs on {var_dir}. Stop it with Ctrl-C or `kill {owner}`, "
                "or name another folder in GLACIER_AL_VAR_DIR."
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _wait_for_earlier_programs(var_dir: Path, say: Callable[[str], None]) -> None:
    """Wait until the programs of a killed `up` have stopped: two Redis servers would damage one file.

    Raises:
        StartError: A program still runs after a minute.
    """
    path = var_dir / FOLDER / LOCK
    if not path.exists():
        return
    with path.open("a") as file:
        if _lock(file, 0):
            return
        say("Waiting for the end of an earlier system, whose `up` was killed")
        if not _lock(file, _EARLIER_S):
            raise StartError(
                f"Programs of an earlier system still run after {_EARLIER_S:.0f} s. End those that "
                f"`fuser {path}` lists, then start again."
            )


def _lock(file: IO[str], patience_s: float) -> bool:
    """Take a lock until the file is closed; return whether that succeeded in time."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def _label_studio_program() -> Path:
    try:
        return label_studio.executable().absolute()
    except FileNotFoundError as error:
        raise StartError(str(error)) from error


def _prepare_folders(settings: Settings) -> None:
    for name in ("redis", "mlflow", "label-studio", "logs"):
        data_dir(settings, name).mkdir(mode=0o700, parents=True, exist_ok=True)
    config_file = redis_config_file(settings)
    config_file.touch(mode=0o600)
    config_file.chmod(0o600)
    config_file.write_text(redis_config(settings))
    # The clock fills the queues from the database, so the file is not needed. One damaged by a power cut would keep
    # Redis from starting.
    (data_dir(settings, "redis") / "appendonly.aof").unlink(missing_ok=True)
    # MLflow makes its one user anew at its start: so the file of secrets is right, and a half-made file does no harm.
    mlflow_users_file(settings).unlink(missing_ok=True)


def _run_and_wait(process: Process, log_dir: Path) -> None:
    log = log_dir / f"{process.name}.log"
    with log.open("ab") as output:
        done = subprocess.run(
            process.argv, env=process.env, cwd=process.cwd, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode != 0:
        raise StartError(f"{process.name} failed with exit code {done.returncode}. {tail(log)}")
