"""Units and levels of scenes agree with one another, and with the card of the champion."""

from dataclasses import replace
from typing import Any

import pytest

from catalog.context import Catalog
from catalog.records import Scene, SceneRole, SceneState
from imagery.errors import SceneError
from imagery.scene_source import BandSource, ElevationSource, SceneSource
from imagery.units import DIGITAL_NUMBER, KELVIN, METRE, REFLECTANCE, Level
from models.input_channels import InputChannel, channels_of_format_1
from services.scenes import source_of
from services.unit_rules import ChannelUnit, ExpectedInput, bands_in_unit, check_against_scenes, level_of, unit_of
from tests.catalog_fixtures import add_scene


def in_unit(source: SceneSource, unit: str, level: Level | None = None) -> SceneSource:
    return replace(source, bands=tuple(replace(band, unit=unit) for band in source.bands), level=level)


@pytest.fixture
def source(catalog: Catalog) -> SceneSource:
    """Red, green, blue and near infrared as digital numbers, with a DEM; it is not in the catalog."""
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
        found = source_of(scene)
        session.rollback()
    return replace(found, dem=ElevationSource((BandSource("elevation", "/dem.tif", 1, unit=METRE),)))


def add(catalog: Catalog, source: SceneSource, role: SceneRole = SceneRole.POOL) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session, "first", role)
        scene.source = source.to_json()


def check(catalog: Catalog, source: SceneSource, *, allow_mixed_levels: bool = False) -> list[str]:
    with catalog.database.write() as session:
        return check_against_scenes(session, source, ["coherence"], allow_mixed_levels=allow_mixed_levels)


def test_an_index_says_what_it_is_computed_from(source: SceneSource) -> None:
    assert unit_of(source, "red") == ChannelUnit(DIGITAL_NUMBER)
    assert unit_of(source, "ndvi") == ChannelUnit("1", DIGITAL_NUMBER)
    assert unit_of(in_unit(source, REFLECTANCE), "ndvi") == ChannelUnit("1", REFLECTANCE)
    assert (unit_of(source, "elevation").unit, unit_of(source, "slope").unit) == ("m", "degree")
    red, *others = in_unit(source, REFLECTANCE).bands
    half = replace(source, bands=(replace(red, unit=DIGITAL_NUMBER), *others))
    assert unit_of(half, "ndvi").computed_from == "digital number and reflectance"


def test_only_reflectances_have_a_level(source: SceneSource) -> None:
    assert level_of(source) is None
    assert level_of(in_unit(source, REFLECTANCE)) == "unknown"
    assert level_of(in_unit(source, REFLECTANCE, Level.SURFACE)) == "surface"


@pytest.mark.parametrize("role", list(SceneRole))
@pytest.mark.parametrize(
    ("first", "second", "advice"),
    [
        (DIGITAL_NUMBER, REFLECTANCE, "--unit 'digital number'"),
        (REFLECTANCE, DIGITAL_NUMBER, "scale and offset tags"),
    ],
)
def test_reflectances_and_digital_numbers_are_never_mixed_whatever_the_roles(
    catalog: Catalog, source: SceneSource, role: SceneRole, first: str, second: str, advice: str
) -> None:
    add(catalog, in_unit(source, first), role)
    message = f"found {second} in red, green, blue, nir; expected {first} in red, .*, as in the scene 'first'.*{advice}"
    with pytest.raises(SceneError, match=message):
        check(catalog, in_unit(source, second))
    assert check(catalog, in_unit(source, first)) == []


def test_scenes_that_are_not_used_decide_nothing(catalog: Catalog, source: SceneSource) -> None:
    add(catalog, in_unit(source, REFLECTANCE))
    with catalog.database.write() as session:
        session.query(Scene).one().state = SceneState.REJECTED
    assert check(catalog, source) == []


def test_further_channels_are_compared_if_they_are_chosen(catalog: Catalog, source: SceneSource) -> None:
    def with_channel(name: str, unit: str) -> SceneSource:
        return replace(source, extras=(BandSource(name, "/extra.tif", 1, unit=unit),))

    add(catalog, with_channel("coherence", "1"))
    with pytest.raises(SceneError, match="found digital number in coherence; expected 1 in coherence"):
        check(catalog, with_channel("coherence", DIGITAL_NUMBER))
    with catalog.database.write() as session:
        session.query(Scene).one().source = with_channel("thermal1", KELVIN).to_json()
    assert check(catalog, with_channel("thermal1", DIGITAL_NUMBER)) == []


def test_levels_are_mixed_only_knowingly_and_the_scene_says_so(catalog: Catalog, source: SceneSource) -> None:
    add(catalog, in_unit(source, REFLECTANCE, Level.SURFACE))
    other = in_unit(source, REFLECTANCE, Level.TOP_OF_ATMOSPHERE)
    with pytest.raises(SceneError, match=r"level 'top of atmosphere'; .* 'surface'.*--allow-mixed-levels"):
        check(catalog, other)
    (note,) = check(catalog, other, allow_mixed_levels=True)
    assert "'top of atmosphere'; that of the scene 'first' is of 'surface'" in note
    with pytest.raises(SceneError, match=r"level 'unknown'.*--level"):
        check(catalog, in_unit(source, REFLECTANCE))
    assert check(catalog, in_unit(source, REFLECTANCE, Level.SURFACE), allow_mixed_levels=True) == []


def card(*channels: InputChannel, levels: tuple[str, ...] = ()) -> dict[str, Any]:
    stated = [channel.model_dump(mode="json") for channel in channels]
    return {"channels": [channel.name for channel in channels], "input_channels": stated, "levels": levels}


def test_the_champions_card_binds_units_and_levels(source: SceneSource) -> None:
    stated = card(InputChannel(name="nir", unit=REFLECTANCE), levels=("surface",))
    expected = ExpectedInput.of_card(stated, "the champion, version 3")
    with pytest.raises(
        SceneError, match="found digital number in nir; expected reflectance in nir, as in the champion"
    ):
        expected.check_units(source)
    good = in_unit(source, REFLECTANCE, Level.SURFACE)
    expected.check_units(good)
    expected.check_level(good)
    with pytest.raises(SceneError, match="the champion, version 3 is of 'surface'"):
        expected.check_level(replace(good, level=Level.TOP_OF_ATMOSPHERE))


def test_an_index_of_another_unit_is_noticed_though_indices_have_none(source: SceneSource) -> None:
    """A network that is fed the index only."""
    ndvi = InputChannel(name="ndvi", unit="1", computed_from=REFLECTANCE)
    expected = ExpectedInput.of_card(card(ndvi), "the champion")
    with pytest.raises(SceneError, match="found an index of digital number in ndvi; expected an index of reflectance"):
        expected.check_units(source)
    expected.check_units(in_unit(source, REFLECTANCE))


def test_a_card_without_units_is_understood_as_models_understand_it() -> None:
    names = ["red", "thermal_low", "ndsi", "ndvi", "ndwi", "elevation", "slope"]
    understood = [InputChannel.model_validate(item) for item in channels_of_format_1(names)]
    found = ExpectedInput.of_card({"format_version": 1, "channels": names}, "the champion").units
    assert found == {channel.name: ChannelUnit(channel.unit, channel.computed_from) for channel in understood}


def test_bands_are_kept_as_stored_or_taken_for_the_reflectances_that_they_are_said_to_be() -> None:
    scaled = BandSource("red", "/a.tif", 1, 2.75e-5, -0.2, 0.0, REFLECTANCE)
    thermal = BandSource("thermal", "/a.tif", 2, unit=KELVIN)
    plain = BandSource("nir", "/a.tif", 3)
    assert bands_in_unit([scaled, plain], None) == (scaled, plain)
    assert bands_in_unit([scaled], DIGITAL_NUMBER) == (BandSource("red", "/a.tif", 1, nodata=0.0),)
    assert bands_in_unit([scaled, thermal, plain], REFLECTANCE) == (scaled, thermal, replace(plain, unit=REFLECTANCE))
