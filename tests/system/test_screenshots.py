"""The pictures of the documentation can be taken of a system that runs."""

from pathlib import Path

import pytest
from PIL import Image

from tests.system.conftest import Stage
from tests.system.loop_system import LoopSystem
from tools.screenshots import DESK, PHONE, take_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # with the system, if it is the first to need it


@pytest.mark.usefixtures("chromium")
def test_every_picture_is_taken_and_shows_something(system: LoopSystem, second_version: Stage, tmp_path: Path) -> None:
    taken = take_pictures(system.settings, tmp_path)
    assert second_version.models[0]["version"] >= 2
    assert {file.name for file in taken} == {file.name for file in tmp_path.iterdir()}
    for file in taken:
        with Image.open(file) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50, file.name
            if file.stem in {"map", "dashboard"}:
                assert picture.size == (DESK["width"], DESK["height"])
            if file.stem == "dashboard-phone":
                assert picture.size == (PHONE["width"], PHONE["height"])
