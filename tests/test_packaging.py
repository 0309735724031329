"""What is delivered is whole: the wheel, and the images' build context. There is no Docker here: its files are read.

The wheel is built as docker/Dockerfile builds it, from nothing but the files that its lines copy.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from imagery import everest_files
from labeling import server as label_studio

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_DELIVERED = {"benchmarks", "chaos", "tests"}
ROOMS = {path.parent.name for path in ROOT.glob("*/__init__.py")} - NOT_DELIVERED
DOCKERFILES = sorted((ROOT / "docker").glob("*Dockerfile"))
LOCKS = sorted((ROOT / "locks").glob("*.txt"))

# Runs the program as a wheel's installer would. Without `site`, no .pth file of an editable installation brings our own
# sources in.
RUN = "import sys; from cli.main import main; sys.argv[0] = 'glacier-al'; main()"


def files_of_the_rooms() -> set[str]:
    """All files below the packages, whatever their kind, but for Python's cache."""
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    return {path.relative_to(ROOT).as_posix() for path in paths if path.parent.name != "__pycache__"}


def admitted(dockerignore: Path) -> set[str]:
    """The files and folders that a dockerignore admits, in the only form that ours have: ``*``, then exceptions."""
    lines = [line for line in dockerignore.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    made = {"web/node_modules", "al_server/static/app", "**/__pycache__"}
    assert {line for line in lines[1:] if not line.startswith("!")} <= made
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def copied(dockerfile: Path) -> list[str]:
    """The sources of all COPY lines that take something from the build context."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.read_text(), re.MULTILINE)
    return [source for line in lines for source in line.split()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the image installs, unpacked."""
    context = tmp_path_factory.mktemp("context")
    dockerfile = ROOT / "docker" / "Dockerfile"
    assert "." in copied(dockerfile)
    for name in admitted(dockerfile.with_name("Dockerfile.dockerignore")):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, context / name)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, context / "dist"], cwd=context, check=True, capture_output=True)
    (archive,) = (context / "dist").glob("*.whl")
    unpacked = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(archive) as file:
        file.extractall(unpacked)
    return unpacked


def test_the_wheel_holds_every_file_of_every_package(wheel: Path):
    paths = [path.relative_to(wheel) for path in wheel.rglob("*") if path.is_file()]
    packaged = {path.as_posix() for path in paths if not path.parts[0].endswith(".dist-info")}
    assert packaged == files_of_the_rooms()


def test_the_program_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path):
    (dist_info,) = wheel.glob("*.dist-info")
    assert "glacier-al = cli.main:main" in (dist_info / "entry_points.txt").read_text()
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(wheel), *libraries])}
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", RUN, "--help"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: glacier-al")


def test_the_tools_see_the_packages_that_are_delivered():
    assert len(ROOMS) >= 9
    assert set(PYPROJECT["tool"]["importlinter"]["root_packages"]) == ROOMS
    assert set(PYPROJECT["tool"]["mypy"]["packages"]) == ROOMS | {"tools"}


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_an_image_copies_exists_and_reaches_the_builder(dockerfile: Path):
    context = admitted(dockerfile.with_name(f"{dockerfile.name}.dockerignore"))
    assert [name for name in context if not (ROOT / name).exists()] == []
    sources = copied(dockerfile)
    assert sources
    for source in sources:
        inside = [name for name in context if f"{name}/".startswith(f"{source}/")]
        assert source == "." or inside, f"{source} is copied, and kept out of the context"
    # Of these two folders only what the image needs is admitted: nothing secret comes in by the way.
    instructions = re.sub(r"^#.*", "", dockerfile.read_text(), flags=re.MULTILINE)
    used = set(re.findall(r"(?:locks|docker)/[\w-]+\.\w+", instructions))
    assert {name for name in context if name.startswith(("locks", "docker"))} == used


def locked(lock: Path) -> Iterator[tuple[str, Version, int]]:
    """Each package of a lock file: its name, its version, and how many hashes it has."""
    for name, version, hashes in re.findall(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=\S+)*)$", lock.read_text(), re.M):
        yield canonicalize_name(name), Version(version), hashes.count("--hash=sha256:")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_exact_versions_with_hashes(lock: Path):
    packages = list(locked(lock))
    requirements = [line for line in lock.read_text().splitlines() if re.match(r"[^#\s]", line)]
    assert len(packages) == len(requirements) > 0
    if lock.name == "torch.txt":  # its builds differ from machine to machine
        assert [(name, hashes) for name, _, hashes in packages] == [("torch", 0)]
    else:
        assert [name for name, _, hashes in packages if hashes == 0] == []


def test_the_locks_of_one_environment_name_each_package_once():
    names = [name for lock in LOCKS if lock.name != "label-studio.txt" for name, _, _ in locked(lock)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("requirements", "locks"),
    [
        (PYPROJECT["project"]["dependencies"], ["server", "torch"]),
        (PYPROJECT["project"]["optional-dependencies"]["postgres"], ["server"]),
        (PYPROJECT["build-system"]["requires"], ["server"]),
        (PYPROJECT["project"]["optional-dependencies"]["dev"], ["server", "dev"]),
        ([f"label-studio=={label_studio.VERSION}"], ["label-studio"]),
        (re.findall(r"geoutils==[\d.]+\d", Path(everest_files.__file__).read_text()), ["demo-scene"]),
    ],
)
def test_the_locks_satisfy_what_is_required(requirements: list[str], locks: list[str]):
    versions = {name: version for lock in locks for name, version, _ in locked(ROOT / "locks" / f"{lock}.txt")}
    others = [r for r in map(Requirement, requirements) if canonicalize_name(r.name) != "glacier-al"]
    assert others
    for requirement in others:
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier, f"run `make lock`: {requirement}"


def test_files_of_the_locks_say_nothing_of_the_machine_that_made_them():
    for lock in LOCKS:
        assert not re.search(r"^-|://|file:|/opt|/home", lock.read_text(), re.MULTILINE), lock.name


@pytest.mark.slow
def test_the_bill_of_materials_is_valid_and_names_what_is_installed(tmp_path: Path):
    (options,) = re.findall(r"cyclonedx-py (environment .+) --output-file", (ROOT / "Makefile").read_text())
    target = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "cyclonedx_py", *options.split(), "--validate", "--output-file", target]
    subprocess.run([*command, sys.executable], cwd=ROOT, check=True, capture_output=True)
    installed = {item["name"]: item["version"] for item in json.loads(target.read_text())["components"]}
    for name in ("Flask", "torch"):
        assert installed[name] == metadata.version(name)
