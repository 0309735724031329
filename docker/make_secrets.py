"""Make the files that ``compose.yaml`` mounts as secrets; files that exist are kept.

Usage: ``python make_secrets.py FOLDER``. ``glacier_al.json`` holds all secrets of our own processes; the other
files repeat single ones for programs that take one secret from one file.
"""

import secrets
import sys
from pathlib import Path

from catalog.secrets import load_or_create


def make_secrets(folder: Path) -> None:
    """Fill `folder` with the secrets, each file readable by its owner alone."""
    ours = load_or_create(folder / "glacier_al.json")
    _write_new(folder / "redis_password", ours.redis_password)
    _write_new(folder / "mlflow_password", ours.mlflow_password)
    _write_new(folder / "mlflow_session_key", ours.mlflow_session_key)
    _write_new(folder / "label_studio_password", ours.label_studio_password)
    _write_new(folder / "label_studio_token", ours.label_studio_token)
    _write_new(folder / "reader_token", ours.reader_token)
    _write_new(folder / "grafana_password", secrets.token_urlsafe(12))
    _write_new(folder / "postgres_password", secrets.token_hex(20))


def _write_new(path: Path, value: str) -> None:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(value)


if __name__ == "__main__":
    make_secrets(Path(sys.argv[1]))
