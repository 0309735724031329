import pytest

from imagery.channels import INDICES, available
from imagery.errors import SceneError
from imagery.sensors import SENSORS, sensor_bands


def test_landsat_field_names_map_to_the_right_part_of_the_spectrum() -> None:
    etm = {band.field_name: band.name for band in SENSORS["landsat-7-etm+"]}
    oli = {band.field_name: band.name for band in SENSORS["landsat-8-oli"]}
    assert (etm["B3"], etm["B4"], etm["B5"]) == ("red", "nir", "swir1")
    # One band later on Landsat 8, which has a coastal band before the blue one.
    assert (oli["B4"], oli["B5"], oli["B6"]) == ("red", "nir", "swir1")


@pytest.mark.parametrize("sensor", sorted(SENSORS))
def test_bands_are_distinct_and_rise_in_wavelength_within_the_solar_range(sensor: str) -> None:
    bands = sensor_bands(sensor)
    assert len({band.name for band in bands}) == len({band.field_name for band in bands}) == len(bands)
    solar = [band.centre_um for band in bands if band.centre_um < 3.0]
    assert solar == sorted(solar)


@pytest.mark.parametrize("sensor", sorted(SENSORS))
def test_every_index_can_be_computed_for_every_sensor(sensor: str) -> None:
    assert set(INDICES) <= set(available([band.name for band in sensor_bands(sensor)]))


def test_only_the_thermal_bands_of_landsat_7_are_coarse() -> None:
    coarse = {band.name for band in SENSORS["landsat-7-etm+"] if band.resolution_m == 60.0}
    assert coarse == {"thermal_low", "thermal_high"}


def test_an_unknown_sensor_is_an_error() -> None:
    with pytest.raises(SceneError, match=r"'modis'; expected one of landsat-7-etm\+, landsat-8-oli"):
        sensor_bands("modis")
