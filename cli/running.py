"""Find the system that runs on a data folder, for the other commands.

`up` writes the addresses into the folder, since it replaces a port that is taken by the next free one. A command must
never reach the system of another folder: it would move that system's champion and store the reason in its own database.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog.settings import Settings
from catalog.settings_sources import PREFIX, variable
from cli.errors import NotRunningError, StartError

ADDRESSES = ("api_url", "redis_url", "mlflow_url", "label_studio_url")

# If all of these are set, as in docker/compose.yaml, the settings say which database belongs to which services.
_EXPLICIT = ("database_url", "redis_url", "mlflow_url")

# Addresses at which nothing listens: port 1 is not used by any service.
_UNREACHABLE = {name: f"{'redis' if name == 'redis_url' else 'http'}://127.0.0.1:1" for name in ADDRESSES}


@contextmanager
def published(settings: Settings) -> Iterator[None]:
    """Publish the addresses to other commands during the block, in a file that only its owner may read (password)."""
    path = _file(settings.var_dir)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({name: getattr(settings, name) for name in ADDRESSES}, file)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running_settings() -> Settings:
    """Return the settings with the addresses of the system that runs on the data folder.

    Raises:
        NotRunningError: No system runs, and the settings do not name a database and its services explicitly.
    """
    settings = Settings()
    found = _with_addresses(settings)
    if found is None:
        variables = ", ".join(map(variable, _EXPLICIT))
        raise NotRunningError(
            f"No system runs on {settings.var_dir}. Start it with `glacier-al up`, or name the folder of the one that "
            f"runs in {PREFIX}VAR_DIR. For a system that `up` does not run, set all of {variables}."
        )
    return found


def local_settings() -> Settings:
    """Return the settings for a command that needs the database, but not a running system.

    Without a running system the addresses are unreachable ones, because servers at the usual addresses belong to
    another folder. Jobs wait in the database until the system starts.
    """
    settings = Settings()
    return _with_addresses(settings) or settings.model_copy(update=_UNREACHABLE)


def check_folder(settings: Settings) -> None:
    """Refuse a data folder that does not exist, which is more often mistyped than new.

    Raises:
        StartError: There is no such folder, and the settings name no database of their own.
    """
    if settings.var_dir.is_dir() or "database_url" in settings.model_fields_set:
        return
    raise StartError(
        f"There is no data folder {settings.var_dir}. Name the one of your installation in {PREFIX}VAR_DIR, or make a "
        "new one with `glacier-al up` or `glacier-al init`."
    )


def lock_file(var_dir: Path) -> Path:
    """Return the path of the file that `up` locks while it runs; the file holds its process id."""
    return var_dir / "up.lock"


def _with_addresses(settings: Settings) -> Settings | None:
    if _up_runs(settings.var_dir):
        try:
            addresses = json.loads(_file(settings.var_dir).read_text())
        except FileNotFoundError:  # it is only just starting, or has stopped
            return None
        return Settings(**{name: addresses[name] for name in ADDRESSES})
    return settings if settings.model_fields_set.issuperset(_EXPLICIT) else None


def _up_runs(var_dir: Path) -> bool:
    """Return whether `up` runs. Its lock tells, since a killed `up` leaves its files behind."""
    try:
        with lock_file(var_dir).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _file(var_dir: Path) -> Path:
    return var_dir / "running.json"
