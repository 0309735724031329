"""Check that scenes agree on the units of their channels and on the level of their reflectances.

A network takes reflectances or digital numbers, never both: the same ice has .8 in one unit and 9,000 in the other. All
scenes of an installation feed one network, or judge it, and so agree channel by channel.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.records import NOT_USED, Scene
from imagery.channels import ELEVATION, INDICES, TERRAIN_UNITS
from imagery.errors import SceneError
from imagery.scene_source import BandSource, SceneSource
from imagery.units import DIGITAL_NUMBER, DIMENSIONLESS, METRE, REFLECTANCE
from services.scenes import source_of

UNKNOWN_LEVEL: Final = "unknown"
"""Level of reflectances whose product does not state it."""

_TERRAIN: Final = {ELEVATION: METRE, **TERRAIN_UNITS}


@dataclass(frozen=True)
class ChannelUnit:
    """The unit of a channel.

    Attributes:
        unit: Of its values (see `imagery.units`).
        computed_from: Unit of the bands that an index is computed from; None if the channel is read.
    """

    unit: str
    computed_from: str | None = None

    def __str__(self) -> str:
        return self.unit if self.computed_from is None else f"an index of {self.computed_from}"


def unit_of(source: SceneSource, channel: str) -> ChannelUnit:
    """Return the unit of a channel that the scene has (see `SceneSource.channel_names`)."""
    if channel in INDICES:
        of_bands = {raster.unit for raster in source.continuous if raster.name in INDICES[channel]}
        return ChannelUnit(DIMENSIONLESS, " and ".join(sorted(of_bands)))
    if channel in _TERRAIN:  # by definition, even where it is an ordinary band
        return ChannelUnit(_TERRAIN[channel])
    # A quality band is read as it is stored.
    return ChannelUnit(next((raster.unit for raster in source.continuous if raster.name == channel), DIGITAL_NUMBER))


def level_of(source: SceneSource) -> str | None:
    """Return what the scene's reflectances refer to, as cards and summaries say it; None if it has none."""
    if all(band.unit != REFLECTANCE for band in source.bands):
        return None
    return source.level.value if source.level else UNKNOWN_LEVEL


@dataclass(frozen=True)
class ExpectedInput:
    """What the network takes, or what the scenes have that it is or will be trained on.

    Attributes:
        whose: Who expects it, for messages ("the champion, version 3").
        units: By channel.
        levels: Levels of the reflectances; empty if it takes none, or if unknown.
    """

    whose: str
    units: Mapping[str, ChannelUnit]
    levels: Collection[str]

    @classmethod
    def of_card(cls, card: Mapping[str, Any], whose: str) -> "ExpectedInput":
        """Read a model card as JSON; a card of format 1 states no units, since its bands are digital numbers."""
        stated = card.get("input_channels")
        if stated is None:
            former = {name: ChannelUnit(DIMENSIONLESS, DIGITAL_NUMBER) for name in INDICES}
            derived = {name: ChannelUnit(unit) for name, unit in _TERRAIN.items()}
            known = former | derived
            return cls(whose, {name: known.get(name, ChannelUnit(DIGITAL_NUMBER)) for name in card["channels"]}, ())
        units = {item["name"]: ChannelUnit(item["unit"], item["computed_from"]) for item in stated}
        return cls(whose, units, card["levels"])

    @classmethod
    def of_scene(cls, source: SceneSource, whose: str, chosen: Collection[str] = ()) -> "ExpectedInput":
        """Return what a scene has in each of its bands, and in those chosen channels that it has."""
        level = level_of(source)
        names = [*source.band_names, *(name for name in chosen if name in source.channel_names)]
        return cls(whose, {name: unit_of(source, name) for name in names}, () if level is None else (level,))

    def check_units(self, source: SceneSource) -> None:
        """Refuse a scene that has another unit in a channel.

        Raises:
            SceneError: naming the channels with what was found, what was expected and what helps.
        """
        shared = [name for name in self.units if name in source.channel_names]
        found = {name: unit_of(source, name) for name in shared}
        differing = [name for name in shared if found[name] != self.units[name]]
        if not differing:
            return
        raw = any(DIGITAL_NUMBER in (self.units[name].unit, self.units[name].computed_from) for name in differing)
        raise SceneError(
            f"found {_listed(found, differing)}; expected {_listed(self.units, differing)}, as in {self.whose}: units "
            f"are never mixed. {_KEEP_RAW if raw else _GIVE_UNITS}"
        )

    def differing_level(self, source: SceneSource) -> str | None:
        """Return what is to be said about a scene whose reflectances are of another level; None if they are not."""
        level = level_of(source)
        if level is None or not self.levels or level in self.levels:
            return None
        return (
            f"its reflectance is of the level {level!r}; that of {self.whose} is of {_quoted(self.levels)}, and the "
            "two differ by haze"
        )

    def check_level(self, source: SceneSource) -> None:
        """Refuse a scene whose reflectances are of another level.

        Raises:
            SceneError: saying how to use it all the same.
        """
        if note := self.differing_level(source):
            raise SceneError(
                f"found a scene that does not fit: {note}. Give the product of the same level; where the level is "
                "unknown, state it (--level, 'level'); or mix them knowingly (--allow-mixed-levels, "
                "'allow_mixed_levels': true)"
            )


_KEEP_RAW: Final = (
    "Give the numbers as stored (--unit 'digital number', 'unit': \"digital number\"); or begin anew with reflectance, "
    "in an empty GLACIER_AL_VAR_DIR"
)
_GIVE_UNITS: Final = (
    "Give the product folder as downloaded, or files with scale and offset tags, from which the values follow; or, if "
    "the files hold such values, state their unit (--unit reflectance, 'unit': \"reflectance\")"
)


def bands_in_unit(bands: Iterable[BandSource], unit: str | None) -> tuple[BandSource, ...]:
    """Return bands as stored if they are wanted as digital numbers, or as the reflectances that they are said to be.

    Elevation, slope and thermal bands are no reflectances, and stay as they are.
    """
    if unit == DIGITAL_NUMBER:
        return tuple(replace(band, scale=1.0, offset=0.0, unit=DIGITAL_NUMBER) for band in bands)
    if unit == REFLECTANCE:
        return tuple(band if _is_no_reflectance(band) else replace(band, unit=REFLECTANCE) for band in bands)
    return tuple(bands)


def _is_no_reflectance(band: BandSource) -> bool:
    return band.unit != DIGITAL_NUMBER or band.name in _TERRAIN or band.name.startswith("thermal")


def check_against_scenes(
    session: Session, source: SceneSource, chosen: Collection[str], *, allow_mixed_levels: bool
) -> list[str]:
    """Refuse a scene whose units or level differ from those of a scene in use, whatever the role of either.

    Args:
        session: a session.
        source: the scene.
        chosen: the channels of the settings, which are compared besides the bands.
        allow_mixed_levels: whether the level may differ.

    Returns:
        A note for each scene of another level, if levels may be mixed.

    Raises:
        SceneError: units differ, or levels differ and may not be mixed.
    """
    notes: dict[str, None] = {}
    for scene in session.scalars(select(Scene).where(Scene.state.not_in(NOT_USED)).order_by(Scene.id)):
        expected = ExpectedInput.of_scene(source_of(scene), f"the scene {scene.name!r}", chosen)
        expected.check_units(source)
        if not allow_mixed_levels:
            expected.check_level(source)
        elif note := expected.differing_level(source):
            notes[note] = None
    return list(notes)


def _listed(units: Mapping[str, ChannelUnit], names: Collection[str]) -> str:
    by_unit: dict[str, list[str]] = {}
    for name in names:
        by_unit.setdefault(str(units[name]), []).append(name)
    return " and ".join(f"{unit} in {', '.join(of_unit)}" for unit, of_unit in by_unit.items())


def _quoted(levels: Collection[str]) -> str:
    return " and ".join(repr(level) for level in levels)
