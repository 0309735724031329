"""A process of its own for work on files from elsewhere."""

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
