"""Write the lock files in ``locks/``: ``make lock``, or ``make lock UPGRADE=1`` for the newest versions of everything.

Direct dependencies and their lower bounds are in ``pyproject.toml``; a version that is locked already stays as long as
it fits. CONTRIBUTING.md, "Changing a dependency", says what each file is for.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from labeling.server import VERSION as LABEL_STUDIO_VERSION
from tools.uv import UV, arguments, environment, read_options

LOCKS = Path("locks")
# Which of these torch needs depends on its build.
_BUILD_OF_TORCH = re.compile(r"torch|triton|(nvidia|cuda)-.+")
_HASHED = "# Made by `make lock`. Exact versions, with the hashes of all files that the package index has of them.\n"
_TORCH = """\
# Made by `make lock`. Without hashes: the builds for CPU and for CUDA are different files of one version, and which one
# a machine gets is up to the configuration of its pip.
"""

Requirements = dict[str, str]  # by name: one requirement as it stands in a lock file, with its hashes


def main(*, upgrade: bool) -> None:
    """Write all lock files."""
    project = tomllib.loads(Path("pyproject.toml").read_text())
    extras = ["pyproject.toml", "--all-extras"]
    builds_us = "\n".join(project["build-system"]["requires"])
    locked = _read("server") | _read("dev")
    everything = _compile(builds_us, *extras, seed=locked, upgrade=upgrade)
    # What the server needs is a part of everything, in the same versions.
    server = _compile(builds_us, "pyproject.toml", "--extra", "postgres", seed=everything, upgrade=False)
    if strangers := {name for name in server if server[name] != everything.get(name)}:
        raise SystemExit(f"Two versions of {', '.join(sorted(strangers))}: with and without the extra `dev`.")
    _write("torch", _TORCH, {"torch": _without_hashes(everything["torch"])})
    everything, server = _without_torch(everything), _without_torch(server)
    _write("server", _HASHED, server)
    _write("dev", _HASHED, {name: text for name, text in everything.items() if name not in server})
    _write("uv", _HASHED, _compile("uv", seed=_read("uv"), upgrade=upgrade))
    # Its files carry the demo scene; none of its code is run, so that its dependencies are not needed.
    _write("demo-scene", _HASHED, _compile("geoutils==0.0.8", "--no-deps", seed={}, upgrade=False))
    label_studio = f"label-studio=={LABEL_STUDIO_VERSION}"
    _write("label-studio", _HASHED, _compile(label_studio, seed=_read("label-studio"), upgrade=upgrade))


def _compile(requirements: str, *sources: str, seed: Requirements, upgrade: bool) -> Requirements:
    """Resolve requirements (lines of text) and other sources, with the versions of the seed where they fit."""
    with TemporaryDirectory() as folder:
        result = Path(folder) / "result.txt"
        result.write_text("".join(seed.values()))
        flags = ["--generate-hashes", "--no-annotate", "--no-header", "--quiet", "--output-file", str(result)]
        # For the oldest release of our Python: a package may need a later one.
        uv = [UV, "pip", "compile", "--python", sys.executable, "--python-version", "3.11.0"]
        options = _options()
        command = [*uv, *flags, *(["--upgrade"] if upgrade else []), *arguments(options), *sources, "-"]
        subprocess.run(command, input=requirements, text=True, check=True, env=environment(options, os.environ))
        return _parse(result.read_text())


def _options() -> dict[str, str]:
    """Return pip's options without the extra indices on this disk: of a version, they may hold only some files."""
    options = read_options()
    indices = options.get("extra-index-url", "").split()
    return options | {"extra-index-url": " ".join(url for url in indices if urlsplit(url).scheme not in {"", "file"})}


def _parse(text: str) -> Requirements:
    found = re.findall(r"^([\w.-]+)(==.*?[^\\]\n)", text, re.MULTILINE | re.DOTALL)
    return {name: name + rest for name, rest in found}


def _read(name: str) -> Requirements:
    path = LOCKS / f"{name}.txt"
    return _parse(path.read_text()) if path.exists() else {}


def _write(name: str, header: str, requirements: Requirements) -> None:
    (LOCKS / f"{name}.txt").write_text(header + "".join(requirements.values()))
    print(f"locks/{name}.txt: {len(requirements)} packages")


def _without_hashes(requirement: str) -> str:
    """Leave out the hashes and the local label (``+cpu``), which names a build and not a version."""
    return re.split(r"[+ ]", requirement.strip())[0] + "\n"


def _without_torch(requirements: Requirements) -> Requirements:
    return {name: text for name, text in requirements.items() if not _BUILD_OF_TORCH.fullmatch(name)}


if __name__ == "__main__":
    main(upgrade="--upgrade" in sys.argv[1:])
