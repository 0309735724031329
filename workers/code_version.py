"""Which code trained a model."""

import subprocess
from importlib.metadata import version
from pathlib import Path


def code_version() -> str:
    """Return the version of the package and, from a git checkout, the commit (with ``-dirty`` if it was changed)."""
    release = version("glacier-al")
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{release}+{described.stdout.strip()}" if described.returncode == 0 else release
