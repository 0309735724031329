"""The version of the code, which is stored with each model."""

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def code_version() -> str:
    """Return the version of the package and, in its own git checkout, the commit (``-dirty`` if it was changed)."""
    release = version("glacier-al")
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():  # a container, or installed below somebody else's repository
        return release
    command = [git, "describe", "--always", "--dirty", "--abbrev=12"]
    described = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return f"{release}+{described.stdout.strip()}" if described.returncode == 0 else release


def software() -> str:
    """Return the name and version of this program, as exports state them."""
    return f"glacier-al {code_version()}"
