"""A process of its own for work on files from elsewhere."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from imagery.errors import SceneError
from services.contained import Helper


def test_files_that_need_more_memory_are_an_error_of_the_request() -> None:
    helper = Helper(1024)
    try:
        with pytest.raises(SceneError, match=r"within 1024 MiB of memory \(setting scene_check_memory_mib\)"):
            helper.call(60, bytearray, 2 << 30)
        assert helper.call(60, len, "abc") == 3  # it goes on
    finally:
        helper.end()


def leave_files_behind(witness: str) -> None:
    """Write temporary files, one of them as libraries in C do, and their paths into a file; never delete them."""
    paths = [Path(tempfile.mkdtemp(), "a"), Path(os.environ.get("TMPDIR", "/tmp"), Path(witness).name)]
    for path in paths:
        path.write_text("abc")
    Path(witness).write_text("\n".join(map(str, paths)))
    time.sleep(600)


def test_a_helper_that_is_killed_leaves_no_temporary_files(tmp_path: Path) -> None:
    witness = tmp_path / f"witness-{os.getpid()}"
    helper = Helper(1024)
    with pytest.raises(TimeoutError):
        helper.call(10, leave_files_behind, str(witness))
    left = [Path(line) for line in witness.read_text().splitlines()]
    assert (len(left), [path for path in left if path.exists()]) == (2, [])
