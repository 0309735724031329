"""Names and errors in any script, on any terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from catalog.context import Catalog
from catalog.records import Scene
from tests.imagery.forge import forge_scene
from tests.workers.rows import register

ROOT = Path(__file__).parents[2]
NAME = "Гималаи-हिमालय-喜马拉雅-[/b]-émile"
ERROR = "found “смещение” ≠ 0 — ['красный'] " + "x" * 100


@pytest.fixture
def listed(catalog: Catalog, tmp_path: Path) -> Catalog:
    """A catalog with a scene whose name and error are in several scripts."""
    scene_id = register(catalog, forge_scene(tmp_path / "scene.tif"))
    with catalog.database.write() as session:
        scene = session.get_one(Scene, scene_id)
        scene.name, scene.error = NAME, ERROR
    return catalog


def environment(catalog: Catalog, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GLACIER_AL_", "LC_", "LANG"))}
    for name in ("PYTHONIOENCODING", "PYTHONUTF8"):
        kept.pop(name, None)
    return {**kept, "PYTHONPATH": str(ROOT), "GLACIER_AL_VAR_DIR": str(catalog.settings.var_dir), **variables}


@pytest.mark.parametrize(
    ("variables", "encoding"),
    [
        ({"PYTHONIOENCODING": "iso-8859-1"}, "iso-8859-1"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "ascii"),
    ],
    ids=["latin-1", "C locale"],
)
def test_a_list_in_any_script_is_shown_whole(listed: Catalog, variables: dict[str, str], encoding: str) -> None:
    env = environment(listed, **variables, COLUMNS="60")
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "scene", "list"], cwd=ROOT, env=env, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    for word in (NAME, ERROR):
        assert word.encode(encoding, "backslashreplace").decode(encoding) in text


def test_an_error_in_any_script_is_shown(listed: Catalog) -> None:
    command = ["scene", "add", "peak", "--role", "pool", "--file", "снимок.tif"]
    env = environment(listed, PYTHONIOENCODING="iso-8859-1")
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *command], cwd=ROOT, env=env, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert "снимок".encode("iso-8859-1", "backslashreplace") in done.stderr


def test_a_narrow_terminal_folds_names_and_cuts_none(listed: Catalog) -> None:
    main_end, end = pty.openpty()
    env = environment(listed, PYTHONIOENCODING="utf-8", COLUMNS="100", TERM="dumb")
    with subprocess.Popen([sys.executable, "-m", "cli.main", "scene", "list"], cwd=ROOT, env=env, stdout=end) as done:
        os.close(end)
        shown = b""
        while chunk := _read(main_end):
            shown += chunk
    os.close(main_end)
    assert done.returncode == 0
    lines = shown.decode().splitlines()
    assert max(map(cell_len, lines)) <= 100  # a vowel sign of Devanagari takes a character, but no cell
    assert "…" not in shown.decode()
    assert shown.decode().count("x") >= 100


def test_every_table_goes_through_one_console() -> None:
    files = [path for path in (ROOT / "cli").glob("*.py") if "rich.console" in path.read_text(encoding="utf-8")]
    assert files == [ROOT / "cli" / "output.py"]


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other end was closed
        return b""
