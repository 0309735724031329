"""Reads from other machines have a deadline for the whole request, and a helper that dies costs one request."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from flask import Flask
from fsspec.implementations.local import LocalFileSystem
from werkzeug.exceptions import BadGateway, GatewayTimeout

from al_server.far_reading import FarReader, FarStore
from catalog.settings import Settings
from imagery.errors import StoreError
from imagery.store import RasterStore


class SlowFiles(LocalFileSystem):  # type: ignore[misc]
    """Files that another machine lists at once, and takes its time to send."""

    protocol = "slow"

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(path).removeprefix("slow://").rstrip("/")

    def cat_file(self, path: str, *arguments: Any, **options: Any) -> bytes:
        if path.endswith("silent.tif"):
            time.sleep(60)
        return bytes(super().cat_file(path, *arguments, **options))


@pytest.fixture
def request_context(tmp_path: Path) -> Iterator[None]:
    with Flask(__name__).test_request_context():
        yield


def reader(limit_s: float) -> FarReader:
    return FarReader(Settings(far_read_timeout_s=limit_s))


@pytest.mark.usefixtures("request_context")
def test_a_store_that_does_not_answer_ends_the_request_at_its_deadline(tmp_path: Path) -> None:
    fsspec.register_implementation("slow", SlowFiles, clobber=True)
    address = f"slow://{tmp_path}"
    plain = RasterStore(address)
    assert not plain.is_local
    plain.put("near.tif", b"near")
    plain.put("silent.tif", b"silent")
    store = FarStore(address, reader(2.0))
    assert (store.exists("near.tif"), store.exists("none.tif"), store.get("near.tif")) == (True, False, b"near")
    with pytest.raises(StoreError, match="expected a stored file"):
        store.get("none.tif")
    started = time.monotonic()
    with pytest.raises(GatewayTimeout, match="within 2 s"):
        store.get("silent.tif")
    assert time.monotonic() - started < 2.5  # what the reads before it took counts, too
    with pytest.raises(GatewayTimeout):  # this request has had its time
        store.get("near.tif")


@pytest.mark.usefixtures("request_context")
def test_a_helper_that_dies_costs_one_read() -> None:
    far = reader(30.0)
    with pytest.raises(BadGateway):
        far.read(os.abort)
    assert far.read(len, b"four") == 4
    with pytest.raises(RuntimeError, match="TypeError"):
        far.read(len, None)
