"""The files of the served version, checked against the checksums that the server registered."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glacier_al_client.errors import ChecksumError
from glacier_al_client.files import save, sha256_of
from glacier_al_client.transport import Transport
from glacier_al_client.types import ModelAnswer

ADDRESSES: Final = {"model.onnx": "onnx", "weights.safetensors": "weights", "card.json": "card"}
ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Bundle:
    """A version whose files are here.

    Attributes:
        version: The version.
        folder: Folder with the files ``model.onnx``, ``weights.safetensors`` and ``card.json``, or those asked for.
    """

    version: ModelAnswer
    folder: Path


def download_bundle(
    transport: Transport, latest: Callable[[], ModelAnswer], folder: Path, files: tuple[str, ...]
) -> Bundle:
    """Have the files of the served version in ``folder/v<version>``; those that are there and whole are not fetched.

    Args:
        transport: The server.
        latest: Returns the served version.
        folder: Folder of all versions.
        files: Names of files.

    Raises:
        ValueError: A name is not one of the three.
        ChecksumError: A file that came is not the one registered, repeatedly.
    """
    if unknown := set(files) - ADDRESSES.keys():
        raise ValueError(f"found the files {', '.join(sorted(unknown))}; expected some of {', '.join(ADDRESSES)}")
    fault = ""
    for _ in range(ATTEMPTS):  # another version may be promoted between two requests
        version = latest()
        target = folder / f"v{version.version}"
        fault = next(filter(None, (_fetch(transport, version, target / name) for name in files)), "")
        if not fault:
            return Bundle(version, target)
    raise ChecksumError(fault)


def _fetch(transport: Transport, version: ModelAnswer, target: Path) -> str | None:
    """Download a file unless it is here; return what is wrong with it."""
    expected = version.sha256[target.name]
    if sha256_of(target) == expected:
        return None
    with transport.stream("GET", f"/api/v1/models/latest/{ADDRESSES[target.name]}") as response:
        sent = response.headers.get("X-Model-Version")
        if sent != str(version.version):
            return f"{target.name} is of version {sent}, expected {version.version}"
        found = save(response, target)
    if found != expected:
        target.unlink()
        return f"{target.name} of version {sent} has the SHA-256 {found}, expected {expected}"
    return None
