"""What was recognised in a folder or file that a user brought."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from imagery.errors import SceneError
from imagery.scene_source import BandSource, ElevationSource, QualityBand
from imagery.units import DIGITAL_NUMBER, REFLECTANCE, Level

_LONGEST_NAME: Final = 99
_OF_BAND: Final = re.compile(r"(.+), band (\d+)(: .+)", re.DOTALL)


@dataclass(frozen=True)
class Product:
    """A product of a provider as our bands. Only headers and metadata were read, and few pixels.

    Attributes:
        kind: What it is, as a phrase ("Landsat Collection 2 Level-2").
        sensor: A key of `imagery.sensors.SENSORS`; None if unknown.
        level: What the reflectances refer to; None if the bands are digital numbers.
        acquired: Moment (UTC) or day of acquisition; None if unknown.
        bands: Our names, where each lies, how stored numbers become values. The grid of the first is the scene's.
        quality: Bands of flags. `masked` is empty: which flags make a pixel unknown is the caller's setting.
        extras: Further channels, such as surface temperature, the panchromatic band and bands of water vapour.
        dem: Where elevation that came with the product lies, or None. Its unit, scale and voids are not read yet, and
            `imagery.describe_scene.describe` refuses it: `imagery.describe_elevation.describe_dem` reads them.
        product_id: The provider's name of the scene ("LC08_L2SP_140041_20181026_20200830_02_T1"), or None.
        sun_elevation_deg: Of the scene's centre, as the metadata state it, or None.
        cloud_percent: Cloud cover as the provider estimated it (0 to 100), or None.
        notes: Guesses and warnings, to be shown before the product is used.
        left_out: Files or bands that are not used, each with the reason. Nothing is dropped silently.
        acquired_by: What `acquired` was guessed from ("the name a_20181026.tif"); None if the product itself states it.
    """

    kind: str
    sensor: str | None
    level: Level | None
    acquired: date | datetime | None
    bands: tuple[BandSource, ...]
    quality: tuple[QualityBand, ...] = ()
    extras: tuple[BandSource, ...] = ()
    dem: ElevationSource | None = None
    product_id: str | None = None
    sun_elevation_deg: float | None = None
    cloud_percent: float | None = None
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    acquired_by: str | None = None

    @property
    def scene_name(self) -> str | None:
        """A name for the scene, as `services.scene_request.NAME` allows; None without `product_id`."""
        text = re.sub(r"[^a-z0-9]+", "-", (self.product_id or "").lower()).strip("-")
        return text[:_LONGEST_NAME].rstrip("-") or None

    @property
    def paths(self) -> tuple[str, ...]:
        """Every raster file that the product's bands lie in, each once."""
        measured = (*self.bands, *self.extras, *(self.dem.tiles if self.dem else ()))
        return tuple(dict.fromkeys([raster.path for raster in measured] + [raster.path for raster in self.quality]))

    def as_digital_numbers(self) -> "Product":
        """Return the product with its reflective bands as stored, without scale, offset and level."""

        def raw(band: BandSource) -> BandSource:
            return replace(band, scale=1.0, offset=0.0, unit=DIGITAL_NUMBER) if band.unit == REFLECTANCE else band

        return replace(
            self,
            level=None,
            bands=tuple(map(raw, self.bands)),
            extras=tuple(map(raw, self.extras)),
            notes=(*self.notes, "bands are read as digital numbers, as asked"),
        )


def level_of_bands(level: Level | None, bands: Sequence[BandSource]) -> Level | None:
    """Return the level of a product's reflectances; None if all of its bands are digital numbers.

    Raises:
        SceneError: Some are reflectances and some digital numbers.
    """
    units = {band.unit == REFLECTANCE for band in bands}
    if units == {True, False}:
        mixed = ", ".join(band.name for band in bands if band.unit != REFLECTANCE)
        raise SceneError(
            f"found reflectance and digital numbers ({mixed}) in one scene; expected one unit: tag every band"
        )
    return level if units == {True} else None


def unique(notes: Sequence[str | None]) -> tuple[str, ...]:
    """Return the notes in their order, each once, without None; what is said of several bands of a file is one note."""
    bands: dict[tuple[str, str], list[str]] = {}
    for note in dict.fromkeys(note for note in notes if note):
        before, number, after = match.groups() if (match := _OF_BAND.fullmatch(note)) else (note, "", "")
        bands.setdefault((before, after), []).append(number)
    return tuple(
        f"{before}, band{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}{after}" if after else before
        for (before, after), numbers in bands.items()
    )


def left_files(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return files that are no bands, each with the reason why it is left out."""
    rasters = (".tif", ".tiff", ".jp2", ".vrt", ".img")
    return tuple(
        (name, "a raster that is no band of the product" if name.lower().endswith(rasters) else "metadata or a preview")
        for name in names
    )
