import numpy as np
import pytest

from imagery.channels import (
    CHANNEL_SETS,
    FURTHER_TERRAIN,
    available_channels,
    bands_needed,
    compute_channel,
    named_channels,
    normalised_difference,
)
from imagery.errors import SceneError
from imagery.sensors import sensor_bands

BANDS = {
    "red": np.array([[10.0, 30.0]], dtype=np.float32),
    "green": np.array([[60.0, 0.0]], dtype=np.float32),
    "nir": np.array([[30.0, 0.0]], dtype=np.float32),
    "swir1": np.array([[20.0, 5.0]], dtype=np.float32),
}


@pytest.mark.parametrize(
    ("index", "values"),
    [("ndvi", [0.5, -1.0]), ("ndsi", [0.5, -1.0]), ("ndwi", [30 / 90, np.nan])],
)
def test_an_index_is_the_normalised_difference_of_its_two_bands(index: str, values: list[float]) -> None:
    np.testing.assert_allclose(compute_channel(index, BANDS)[0], values, rtol=1e-6)


def test_ndwi_is_the_water_index_of_green_and_nir_not_of_nir_and_swir() -> None:
    gao = normalised_difference(BANDS["nir"], BANDS["swir1"])
    assert compute_channel("ndwi", BANDS)[0, 0] == pytest.approx(1 / 3)
    assert gao[0, 0] == pytest.approx(0.2)


def test_an_invalid_band_makes_its_index_invalid() -> None:
    bands = {**BANDS, "red": np.array([[np.nan, 1.0]], dtype=np.float32)}
    assert np.isnan(compute_channel("ndvi", bands)[0]).tolist() == [True, False]


def test_available_lists_bands_first_and_only_the_indices_they_allow() -> None:
    assert available_channels(["red", "green", "blue", "nir"]) == ("red", "green", "blue", "nir", "ndvi", "ndwi")


def test_bands_needed_are_each_named_once_in_scene_order() -> None:
    assert bands_needed(["ndwi", "ndvi", "nir"], ["red", "green", "nir"]) == ("red", "green", "nir")


def test_an_unknown_channel_is_an_error_that_lists_the_available_ones() -> None:
    with pytest.raises(SceneError, match=r"'ndsi'; expected one of red, nir, ndvi$"):
        bands_needed(["ndsi"], ["red", "nir"])


def test_terrain_is_available_where_elevation_is_and_needs_it() -> None:
    terrain = ("slope", "curvature", "ruggedness", "aspect_sin", "aspect_cos")
    assert available_channels(["red", "elevation"]) == ("red", "elevation", *terrain)
    assert available_channels(["slope", "elevation"]) == ("slope", "elevation", *terrain[1:])
    assert bands_needed(["slope"], ["red", "elevation"]) == ("elevation",)
    with pytest.raises(SceneError, match=r"'slope'; expected one of red$"):
        bands_needed(["slope"], ["red"])


def test_channels_of_the_papers_are_named_never_counted() -> None:
    etm = [band.name for band in sensor_bands("landsat-7-etm+")]
    sizes = {"baraka": 15, "aryal": 8, "he": 3, "glavitu": 8}
    assert {name: len(channels) for name, channels in CHANNEL_SETS.items()} == sizes
    assert set(CHANNEL_SETS["baraka"]) == set(available_channels([*etm, "elevation"])) - set(FURTHER_TERRAIN)
    assert CHANNEL_SETS["aryal"] == tuple(band.name for band in sensor_bands("landsat-7-etm+") if band.stacked)
    by_field = {band.field_name: band.name for band in sensor_bands("landsat-8-oli")}
    assert CHANNEL_SETS["he"] == (by_field["B6"], by_field["B5"], by_field["B2"])


def test_a_channel_set_is_named_alone_and_without_a_choice_all_bands_are_taken() -> None:
    assert named_channels(["he"], ("red", "nir")) == CHANNEL_SETS["he"]
    assert named_channels(["red", "ndvi"], ("red", "nir")) == ("red", "ndvi")
    assert named_channels([], ("red", "nir")) == ("red", "nir")
