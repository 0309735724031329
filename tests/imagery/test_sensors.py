import pytest

from imagery.channels import INDICES, available_channels
from imagery.errors import SceneError
from imagery.sensors import SENSORS, holds_flags, sensor_bands


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
    # What is left out of the stack (pan, cirrus) lies between the others.
    solar = [band.centre_um for band in bands if band.stacked and band.centre_um and band.centre_um < 3.0]
    assert solar == sorted(solar)


WITHOUT_SHORT_WAVE = {"planetscope-4-band", "planetscope-8-band"}


@pytest.mark.parametrize("sensor", sorted(SENSORS))
def test_every_index_can_be_computed_for_every_sensor_that_sees_short_wave_infrared(sensor: str) -> None:
    found = set(INDICES) & set(available_channels([band.name for band in sensor_bands(sensor)]))
    assert found == set(INDICES) - ({"ndsi"} if sensor in WITHOUT_SHORT_WAVE else set())


def test_only_the_thermal_bands_of_landsat_7_are_coarse() -> None:
    coarse = {band.name for band in SENSORS["landsat-7-etm+"] if band.resolution_m == 60.0}
    assert coarse == {"thermal_low", "thermal_high"}


@pytest.mark.parametrize(
    ("sensor", "stack", "table"),
    [
        ("landsat-5-tm", 7, 8),
        ("landsat-7-etm+", 8, 10),
        ("landsat-8-oli", 7, 12),
        ("landsat-9-oli-2", 7, 12),
        ("sentinel-2-msi", 12, 13),
        ("planetscope-4-band", 4, 4),
        ("planetscope-8-band", 8, 8),
    ],
)
def test_the_stack_and_the_whole_table_of_a_sensor_have_these_many_bands(sensor: str, stack: int, table: int) -> None:
    bands = sensor_bands(sensor)
    assert (sum(band.stacked for band in bands), len(bands)) == (stack, table)


def test_the_same_part_of_the_spectrum_has_the_same_name_on_every_sensor() -> None:
    for name, low, high in (("green", 0.5, 0.6), ("nir", 0.8, 0.9), ("swir1", 1.5, 1.7), ("swir2", 2.1, 2.3)):
        centres = [band.centre_um for bands in SENSORS.values() for band in bands if band.name == name]
        assert len(centres) == len(SENSORS) - (len(WITHOUT_SHORT_WAVE) if name.startswith("swir") else 0)
        assert all(centre is not None and low < centre < high for centre in centres)


def test_sentinel_2_bands_come_in_three_resolutions() -> None:
    by_resolution = {
        size: [b.name for b in SENSORS["sentinel-2-msi"] if b.resolution_m == size] for size in (10, 20, 60)
    }
    assert by_resolution[10] == ["blue", "green", "red", "nir"]
    assert by_resolution[60] == ["coastal", "water_vapour", "cirrus"]
    assert len(by_resolution[20]) == 6


@pytest.mark.parametrize("sensor", sorted(SENSORS))
def test_flags_are_in_the_quality_band_alone_which_no_stack_holds(sensor: str) -> None:
    bands = sensor_bands(sensor)
    for band in bands:
        assert {holds_flags(name) for name in (band.name, *band.field_names)} == {band.name == "quality"}
    assert not any(band.stacked for band in bands if band.name == "quality")


def test_an_unknown_sensor_is_an_error() -> None:
    with pytest.raises(
        SceneError, match=r"'modis'; expected one of landsat-4-tm, landsat-5-tm, landsat-7-etm\+, landsat-8-oli"
    ):
        sensor_bands("modis")
