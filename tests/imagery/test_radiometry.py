import math
from pathlib import Path

import numpy as np
import pytest
import rasterio

from imagery.errors import SceneError
from imagery.radiometry import (
    LANDSAT_SURFACE,
    OLI_TOP_OF_ATMOSPHERE,
    SENTINEL_2,
    Scaling,
    already_reflectance,
    declared_scaling,
    implausible,
    level_of,
    prefer,
    sample,
    sentinel_2,
    top_of_atmosphere,
)
from imagery.units import Level
from tests.imagery.forge import write_geotiff


def test_top_of_atmosphere_is_divided_by_the_sine_of_the_suns_elevation() -> None:
    scaling = top_of_atmosphere(2e-5, -0.1, 30.0)
    assert (scaling.scale, scaling.offset) == pytest.approx((4e-5, -0.2))
    assert 20_000 * scaling.scale + scaling.offset == pytest.approx(0.6)  # (0.4 - 0.1) / 0.5


def test_sentinel_2_adds_the_offset_before_it_divides() -> None:
    scaling = sentinel_2(-1000)
    assert 3000 * scaling.scale + scaling.offset == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("scaling", "level"),
    [
        (LANDSAT_SURFACE, Level.SURFACE),
        (Scaling(2.75e-5, -0.2), Level.SURFACE),
        (OLI_TOP_OF_ATMOSPHERE, Level.TOP_OF_ATMOSPHERE_SUN_UNCORRECTED),
        (SENTINEL_2, None),
    ],
)
def test_landsats_scalings_tell_their_level(scaling: Scaling, level: Level | None) -> None:
    assert level_of(scaling) is level


def tagged(path: Path, tags: dict[str, str], band: int = 0) -> str:
    write_geotiff(path, np.ones((2, 8, 8), np.int16))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(band, **tags)
    return str(path)


@pytest.mark.parametrize("band", [0, 1])
def test_metadata_items_of_file_or_band_state_the_scaling(tmp_path: Path, band: int) -> None:
    tags = {"scale_factor": "0.0001", "add_offset": "-0.1", "_FillValue": "-9999"}
    with rasterio.open(tagged(tmp_path / "a.tif", tags, band)) as dataset:
        assert declared_scaling(dataset, 1) == Scaling(0.0001, -0.1, -9999)
        assert (declared_scaling(dataset, 2) is None) == (band == 1)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"scale_factor": "ten"}, "scale_factor='ten'; expected a number"),
        ({"scale_factor": "0"}, "found the scale 0.0"),
    ],
)
def test_tags_that_are_no_scaling_are_refused(tmp_path: Path, tags: dict[str, str], message: str) -> None:
    with rasterio.open(tagged(tmp_path / "a.tif", tags)) as dataset, pytest.raises(SceneError, match=message):
        declared_scaling(dataset, 1)


def test_the_products_own_metadata_come_before_tags() -> None:
    stated, declared = Scaling(2.75e-5, -0.2), Scaling(1e-4, 0.0)
    assert prefer(stated, declared, "a.tif") == (
        stated,
        "a.tif: the file's tags say x 0.0001 +0, the product says x 2.75e-05 -0.2, which is used",
    )
    assert prefer(stated, Scaling(2.7500001e-5, -0.2), "a.tif") == (stated, None)  # rounded


def test_a_sample_leaves_out_fill_and_reads_few_pixels(tmp_path: Path) -> None:
    pixels = np.full((1000, 1000), 7, np.uint16)
    pixels[:, :500] = 0
    pixels[:, 900:] = 9
    with rasterio.open(write_geotiff(tmp_path / "a.tif", pixels, nodata=9)) as dataset:
        found = sample(dataset, 1, nodata=0)
    assert set(found) == {7}
    assert found.size < 5 * 64 * 64


@pytest.mark.parametrize(
    ("dtype", "values", "fractions"),
    [
        ("float32", [0.02, 0.3, 1.1], True),
        ("float32", [200.0, 3000.0, 11000.0], False),
        ("uint16", [0, 1, 1], False),
        ("float64", [-0.01, 0.2], True),
        ("float32", [], False),
        ("float32", [0.0, 0.0], False),
    ],
)
def test_fractions_are_told_from_stored_integers(dtype: str, values: list[float], fractions: bool) -> None:
    assert already_reflectance(dtype, np.array(values, np.float64)) is fractions


@pytest.mark.parametrize(
    ("scale", "offset", "stored", "wrong"),
    [
        (1e-4, 0.0, 3000, False),
        (1e-4, 0.0, 40000, True),  # as a surface product of Landsat under Sentinel-2's scale
        (2.75e-5, -0.2, 3000, True),  # the other way round
        (1e-4, 0.0, 200, False),
        (1e-4, 0.0, 3, True),
    ],
)
def test_impossible_reflectances_are_noticed(scale: float, offset: float, stored: float, wrong: bool) -> None:
    assert (implausible(Scaling(scale, offset), np.full(100, stored, np.float64)) is not None) is wrong


def test_values_agree_only_if_both_scale_and_offset_do() -> None:
    assert not Scaling(1e-4, 0.0).agrees(Scaling(1e-4, -0.1))
    assert Scaling(1e-4, 0.0).agrees(Scaling(math.nextafter(1e-4, 1), 0.0))


def test_a_sample_leaves_out_both_what_the_mask_and_what_the_nodata_value_exclude(tmp_path: Path) -> None:
    numbers = np.full((32, 32), 0.5, np.float32)
    numbers[8:16], numbers[:8] = -9999, 0.25
    mask = np.full((32, 32), 255, np.uint8)
    mask[:8] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write_geotiff(tmp_path / "a.tif", numbers, nodata=-9999)
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(mask)
    with rasterio.open(path) as dataset:
        assert set(sample(dataset, 1)) == {0.5}
