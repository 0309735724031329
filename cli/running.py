"""The addresses of the system that ``glacier-al up`` runs, so that other commands on this machine find it.

A port that is taken moves to the next free one, so the settings alone do not say where things are.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog.settings import Settings

ADDRESSES = ("api_url", "redis_url", "mlflow_url", "label_studio_url")


@contextmanager
def published(settings: Settings) -> Iterator[None]:
    """Leave the addresses for other commands while the block lasts; only their owner may read the Redis password."""
    path = _file(settings.var_dir)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({name: getattr(settings, name) for name in ADDRESSES}, file)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running_settings() -> Settings:
    """Return the settings, with the addresses of the running system if there is one."""
    settings = Settings()
    try:
        addresses = json.loads(_file(settings.var_dir).read_text())
    except FileNotFoundError:
        return settings
    return Settings(**{name: addresses[name] for name in ADDRESSES})


def _file(var_dir: Path) -> Path:
    return var_dir / "running.json"
