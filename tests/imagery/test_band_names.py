from pathlib import Path

import numpy as np
import pytest
import rasterio

from imagery.band_names import band_name, bands_of_file
from imagery.errors import SceneError
from tests.imagery.forge import write_geotiff


@pytest.mark.parametrize(
    ("given", "sensor", "name"),
    [
        ("B4", "landsat-8-oli", "red"),
        ("B04", "landsat-8-oli", "red"),  # HLS
        ("SR_B4", "landsat-8-oli", "red"),  # USGS, Earth Engine
        ("sr_band4", "landsat-8-oli", "red"),  # ESPA
        ("OLI_B4", "landsat-8-oli", "red"),  # Planetary Computer
        ("SR_B4", "landsat-7-etm+", "nir"),
        ("swir22", "landsat-5-tm", "swir2"),  # STAC
        ("nir08", "landsat-9-oli-2", "nir"),
        ("B05", "sentinel-2-msi", "rededge1"),
        ("b8a", "sentinel-2-msi", "nir_narrow"),
        ("nir08", "sentinel-2-msi", "nir_narrow"),
        (" NIR ", "sentinel-2-msi", "nir"),
        ("nir", None, "nir"),
        ("ST_B10", "landsat-8-oli", "surface_temperature"),
        ("QA_PIXEL", "landsat-8-oli", "quality"),
        ("Fmask", None, "fmask"),
    ],
)
def test_designations_of_every_provider_are_understood(given: str, sensor: str | None, name: str) -> None:
    assert band_name(given, sensor) == name


@pytest.mark.parametrize(
    ("given", "sensor", "message"),
    [
        ("B8A", "landsat-8-oli", r"found the band 'B8A'; expected .*it is nir_narrow of sentinel-2-msi"),
        ("B13", "sentinel-2-msi", r"did you mean"),
        ("nirr", None, r"did you mean nir"),
        ("B4", None, r"nir of landsat-7-etm\+, red of landsat-8-oli.*expected to be told the sensor \(--sensor\)"),
        ("coherence", "landsat-8-oli", r"declare it as a further channel \(--channel\)"),
        ("nir", "landsat-8", r"unknown sensor 'landsat-8'.*did you mean landsat-8-oli"),
    ],
)
def test_an_unknown_name_is_refused_with_what_it_may_be(given: str, sensor: str | None, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        band_name(given, sensor)


def test_a_further_channel_keeps_its_name() -> None:
    assert band_name("Coherence", "landsat-8-oli", ["coherence"]) == "coherence"
    assert band_name("SWIR-1", "landsat-8-oli", ["swir-1"]) == "swir-1"
    assert band_name("B6", "landsat-8-oli", ["b6"]) == "b6"


@pytest.mark.parametrize("form", ["band_{}", "Band {}", "lyr.{}"])
def test_descriptions_that_only_count_the_bands_count_as_none(tmp_path: Path, form: str) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.ones((7, 4, 4), np.float32))
    with rasterio.open(path, "r+") as file:
        file.descriptions = tuple(form.format(number) for number in range(1, 8))
    bands = bands_of_file(str(path), "landsat-8-oli")
    assert [band.name for band in bands] == ["coastal", "blue", "green", "red", "nir", "swir1", "swir2"]
    with pytest.raises(SceneError, match="7 bands without distinct descriptions"):
        bands_of_file(str(path), None)


def test_two_bands_of_one_meaning_are_refused(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.ones((2, 4, 4), np.uint8), descriptions=["B4", "SR_B4"])
    with pytest.raises(SceneError, match="found B4, SR_B4, which all mean red; expected each band once"):
        bands_of_file(str(path), "landsat-8-oli")
