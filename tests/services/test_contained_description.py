"""Understanding a scene's files in a process of its own, and the limits on a scene."""

import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import pytest
import rasterio

from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME
from imagery.errors import SceneError
from services import contained_description
from services.contained_description import describe_contained
from services.scene_description import describe_scene
from services.scene_files import AnyFile
from services.scene_request import SceneRequest
from tests.imagery.forge import NORTH_UP, UTM_45N


class CrashingFiles(AnyFile):
    """Crashes the process, as a library may that reads a damaged file."""

    def __call__(self, name: str) -> str:
        os.abort()


class ForgetfulFiles(AnyFile):
    """Writes a temporary file, and crashes the process before it is deleted."""

    def __init__(self, witness: Path) -> None:
        self._witness = witness

    def __call__(self, name: str) -> str:
        left = Path(tempfile.mkdtemp(), "a")
        left.write_text("abc")
        self._witness.write_text(str(left))
        os.abort()


class LargeFiles(AnyFile):
    """Takes more memory than is allowed."""

    def __call__(self, name: str) -> str:
        return str(len(bytearray(2 << 30)))


class SlowFiles(AnyFile):
    """Takes longer than is allowed."""

    def __call__(self, name: str) -> str:
        time.sleep(60)
        return name


class PuzzlingFiles(AnyFile):
    """Raises an error that nobody expected and that cannot be sent to another process."""

    def __call__(self, name: str) -> str:
        raise PuzzlingError(1, 2)


class PuzzlingError(Exception):
    """Takes two values and passes one text on, so that it cannot be made again from its arguments."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} is not {other}")


REQUEST = {"role": "pool", "name": "a", "unit": "digital number", "patch_size_px": 32}


def _request(path: Path, **more: object) -> SceneRequest:
    return SceneRequest.model_validate({**REQUEST, "bands": [{"name": "red", "path": str(path)}], **more})


def _sparse(path: Path, side: int) -> Path:
    """Write a file that declares many pixels and holds none."""
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8", "crs": UTM_45N}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "sparse_ok": True, "compress": "deflate"}
    with rasterio.open(path, "w", transform=rasterio.Affine(*NORTH_UP), **profile):
        pass
    return path


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (CrashingFiles(), r"ended without an answer \(it crashed, status -6\)"),
        (LargeFiles(), "within 1024 MiB of memory"),
        (SlowFiles(), "within 2 s"),
        (AnyFile(), "found no file or folder /nowhere.tif"),
    ],
)
def test_whatever_a_file_does_is_an_error_of_the_request(tmp_path: Path, files: AnyFile, message: str) -> None:
    timeout_s = 2.0 if isinstance(files, SlowFiles) else 120.0
    settings = Settings(var_dir=tmp_path, scene_check_memory_mib=1024, scene_check_timeout_s=timeout_s)
    with pytest.raises(SceneError, match=message):
        describe_contained(settings, _request(Path("/nowhere.tif")), files, GLACIER_SCHEME)


def test_a_process_that_crashes_leaves_no_temporary_files(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with pytest.raises(SceneError, match="it crashed"):
        describe_contained(Settings(), _request(Path("/nowhere.tif")), ForgetfulFiles(witness), GLACIER_SCHEME)
    assert not Path(witness.read_text()).exists()


def test_a_giant_scene_is_refused_by_its_header(tmp_path: Path) -> None:
    path = _sparse(tmp_path / "a.tif", 30_000)  # 900 million pixels
    settings = Settings(var_dir=tmp_path)
    with pytest.raises(SceneError, match=r"900,000,000\); expected at most 500,000,000 \(setting scene_max_pixels\)"):
        describe_scene(settings, _request(path), AnyFile(), GLACIER_SCHEME)
    with pytest.raises(SceneError, match=r"found no pixel"):  # a part of it may be a scene
        region = {"row_off": 0, "col_off": 0, "height": 64, "width": 64}
        describe_scene(settings, _request(path, region=region, nodata=0), AnyFile(), GLACIER_SCHEME)


def test_a_scene_of_too_many_patches_is_refused_by_its_header(tmp_path: Path) -> None:
    path = _sparse(tmp_path / "a.tif", 6400)  # 200 x 200 patches
    settings = Settings(var_dir=tmp_path, scene_max_patches=39_999)
    with pytest.raises(SceneError, match=r"40,000 patches of 32 px .* at most 39,999 \(setting scene_max_patches\)"):
        describe_scene(settings, _request(path), AnyFile(), GLACIER_SCHEME)


def test_an_error_that_nobody_expected_is_logged_where_it_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request = _request(_sparse(tmp_path / "a.tif", 64))
    with pytest.raises(RuntimeError, match=r"^PuzzlingError: 1 is not 2$"):
        describe_contained(Settings(), request, PuzzlingFiles(), GLACIER_SCHEME)
    # Here it runs in this process.
    monkeypatch.setattr(contained_description, "limit_process", lambda *_: None)
    monkeypatch.setattr(contained_description.resource, "setrlimit", lambda *_: None)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    contained_description._describe(sender, Settings(), request, PuzzlingFiles(), GLACIER_SCHEME, str(tmp_path))
    assert str(receiver.recv()) == "PuzzlingError: 1 is not 2"
    assert "raise PuzzlingError(1, 2)" in caplog.text
