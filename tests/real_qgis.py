"""A real QGIS, where the system's Python has its library (Debian: python3-qgis): it runs `tests/in_qgis.py`."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

_PYTHON = "/usr/bin/python3"
_SCRIPT = Path(__file__).with_name("in_qgis.py")


def _is_there() -> bool:
    if not Path(_PYTHON).exists():
        return False
    return subprocess.run([_PYTHON, "-c", "import qgis.core"], capture_output=True, check=False).returncode == 0


needs_qgis = pytest.mark.skipif(not _is_there(), reason="needs a QGIS: apt-get install python3-qgis")


def in_qgis(home: Path, what: str, *files: Path) -> Any:
    """Return what QGIS makes of files; `home` gets its profile."""
    environment = {"PATH": "/usr/bin:/bin", "QT_QPA_PLATFORM": "offscreen", "HOME": str(home)}
    command = [_PYTHON, str(_SCRIPT), what, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
