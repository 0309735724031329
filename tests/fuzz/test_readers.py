"""Fuzzing of the readers of data from outside: a short, always equal run. ``make fuzz`` is the long one."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.inputs import damaged
from tests.fuzz.targets import Target, targets

NAMES = (
    *("GeoTIFF", "VRT", "STAC item", "Landsat metadata", "GPKG", "GeoJSON", "FlatGeobuf", "ESRI Shapefile", "KML"),
    *("shapefile's .shx", "shapefile's .dbf", "shapefile's .prj", "zip", "GeoParquet", "RLE", "webhook", "clicks"),
    *("submission's .shp", "submission's .shx", "submission's .dbf", "submission's .prj"),
    *("label polygons", "correction"),
    *(
        "product's zip",
        "product's tar",
        "card.json",
        "weights.safetensors",
        "model.onnx",
        "signature",
        "path of a scene",
        "text of an error",
    ),
    "address of a subscriber",
)


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return targets(tmp_path_factory.mktemp("fuzz"))


def test_all_readers_are_fuzzed(readers: dict[str, Target]) -> None:
    assert set(readers) == set(NAMES)


def test_the_long_run_of_each_reader_is_published() -> None:
    text = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| (.+) \| [\d,]+ \| \d+ \| [\d.]+ \| \d+ \|$", text, re.MULTILINE)) == sorted(NAMES)
    assert f"({len(NAMES)} readers," in " ".join(text.split())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")  # of GDAL and NumPy, about damaged data
def test_damaged_data_is_read_or_refused_with_a_reason(readers: dict[str, Target], name: str) -> None:
    reader = readers[name]
    for seed in reader.seeds:
        reader.run(seed) if name not in {"path of a scene", "STAC item"} else None

    @settings(max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(damaged(reader.seeds))
    def fuzz(data: bytes) -> None:
        try:
            reader.run(data)
        except reader.allowed as error:
            assert str(error), "an error without a reason"

    fuzz()
