"""The table of rooms in docs/architecture.md, proven twice.

Who imports whom among ourselves is judged by import-linter's contracts (pyproject.toml), and what a room drags in is
seen in a fresh interpreter that imports all of it: a library may come in through another library.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What each room must never load, directly or through others.
NEVER = {
    "imagery": {"torch", "flask", "rq", "sqlalchemy", "mlflow", "label_studio_sdk"},
    "labeling": {"torch", "rasterio", "flask", "rq", "sqlalchemy", "mlflow"},
    "models": {"rasterio", "flask", "rq", "sqlalchemy", "mlflow", "label_studio_sdk"},
    "catalog": {"torch", "flask", "rasterio", "label_studio_sdk", "mlflow"},
    "services": {"torch", "flask", "rq", "mlflow", "cv2", "pandas"},
    "al_server": {"torch", "mlflow", "cv2", "pandas"},  # the last two are what Label Studio's SDK weighs
}
# The one file that writes to MLflow, whose library brings Flask and much else along. Workers and experiments load it.
EXEMPT = {"catalog.tracking"}

# These run in the io worker and the clock, which have no use for a gigabyte of torch.
IO_MODULES = [
    "workers.main",
    "workers.clock",
    "workers.jobs",
    "workers.tile_scene",
    "workers.propose_round",
    "workers.publish_round",
    "workers.ingest_label",
    "workers.sync_label_studio",
]


def modules_of(room: str) -> list[str]:
    """Name all modules of a room; migrations are run by Alembic, not imported."""
    files = [path.relative_to(ROOT) for path in sorted((ROOT / room).rglob("*.py"))]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
    return [name for name in names if name not in EXEMPT and not name.startswith("catalog.migrations")]


def loaded_by(modules: list[str]) -> set[str]:
    """Import modules in a fresh interpreter; return the top-level names of all that was loaded."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_our_own_imports_keep_the_contracts() -> None:
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert program is not None, "import-linter is not installed; run `make setup`"
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("room", NEVER)
def test_a_room_never_loads_what_is_not_its_business(room: str) -> None:
    modules = modules_of(room)
    assert len(modules) > 5
    assert loaded_by(modules) & NEVER[room] == set()


def test_io_workers_never_load_torch_or_mlflow() -> None:
    assert loaded_by(IO_MODULES) & {"torch", "mlflow", "flask", "al_server", "models"} == set()


@pytest.mark.parametrize("room", [*NEVER, "workers", "experiments", "cli"])
def test_importing_a_room_loads_none_of_its_modules(room: str) -> None:
    """All `__init__.py` are empty, so that importing one file never drags in another."""
    assert (ROOT / room / "__init__.py").read_text() == ""


# What is about glaciers by its nature, and what gives the glacier scheme to installations that configured no other.
ABOUT_GLACIERS = {
    "cli/demo.py",
    "cli/report.py",
    "cli/report_pictures.py",
    "cli/round_record.py",
    "imagery/everest.py",
    "imagery/synthetic.py",
    "imagery/synthetic_surface.py",
    "services/class_scheme.py",
    "services/version_figures.py",  # versions of releases that knew no other scheme
}


def test_only_what_is_about_glaciers_names_classes_of_glaciers() -> None:
    """Everything else gets the classes of the installation as an argument."""
    fixed = {"BACKGROUND", "UNKNOWN", "ClassScheme", "LabelClass"}
    found = set()
    for room in (*NEVER, "cli", "workers"):
        for path in (ROOT / room).rglob("*.py"):
            for line in path.read_text().splitlines():
                module, _, names = line.partition(" import ")
                if module.strip() == "from imagery.classes" and set(names.split(", ")) - fixed:
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == ABOUT_GLACIERS
