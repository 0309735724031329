"""The description of a scene: which bands lie where, and on which grid. It is stored as JSON with every scene."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from imagery.border import BorderSource
from imagery.channels import ELEVATION, INDICES, TERRAIN_UNITS, available_channels
from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.units import DIGITAL_NUMBER, Level


@dataclass(frozen=True)
class BandSource:
    """Where one band of a scene lies.

    Attributes:
        name: The band's name ("nir").
        path: The raster file: a local path, or an address that GDAL reads (see `imagery.paths`).
        index: The band's number in the file, from 1.
        scale: Factor from stored numbers to values.
        offset: Value of the stored number 0: value = stored number x `scale` + `offset`.
        nodata: A stored number that means no data, in addition to what the file declares.
        unit: Unit of the values (see `imagery.units`).
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    name: str
    path: str
    index: int
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    unit: str = DIGITAL_NUMBER


@dataclass(frozen=True)
class QualityBand:
    """A band of flags or categories, which say which pixels to trust. It is decoded, and never averaged.

    Attributes:
        name: The band's name ("quality"). A network is fed with it only if its channels name it, as Baraka's do.
        path: As `BandSource.path`.
        index: As `BandSource.index`.
        table: How to decode it: a key of `imagery.quality.FLAG_TABLES`; None if it is not decoded.
        masked: The flags of the table that make a pixel unknown ("cloud", "cloud shadow", ...).
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    name: str
    path: str
    index: int
    table: str | None = None
    masked: tuple[str, ...] = ()


@dataclass(frozen=True)
class ElevationSource:
    """A digital elevation model: one file or a mosaic of tiles.

    Attributes:
        tiles: At least one, all named "elevation", in metres after scale and offset. Tiles whose pixels line up form
            one mosaic; others are resampled each from its own grid. Where tiles overlap, the first that has a value
            counts.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    tiles: tuple[BandSource, ...]


@dataclass(frozen=True)
class FileGrid:
    """The grid of a file that is resampled onto the scene's grid.

    Attributes:
        path: The file, as its bands name it.
        grid: The file's own grid.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    path: str
    grid: Grid


@dataclass(frozen=True)
class SceneSource:
    """Everything needed to read a scene again; made by `imagery.describe_scene.describe`.

    Attributes:
        bands: The bands, in the order that fixes the scene's channel order.
        grid: The grid of the scene, which may be a region of the first band's file.
        offset: Row and column of the grid's first pixel in the files that are on this grid.
        level: What the reflectances refer to; None if the bands are digital numbers.
        resampled: The files on other grids.
        extras: Further channels by name (radar coherence, velocity, elevation change, ...). A gap in one does not make
            a pixel unknown.
        quality: Bands that say which pixels are cloud, shadow or fill. Such pixels are unknown in all channels.
        dem: Elevation, or None. A gap does not make a pixel unknown.
        border: Polygons outside of which nothing is known, or None.
        border_sha256: Checksum of the border (see `imagery.vectors.VectorLayer`), by which a reader notices that the
            file was changed. None without a border, and in scenes registered before checksums were stored, whose border
            is not checked.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    bands: tuple[BandSource, ...]
    grid: Grid
    offset: tuple[int, int]
    level: Level | None = None
    resampled: tuple[FileGrid, ...] = ()
    extras: tuple[BandSource, ...] = ()
    quality: tuple[QualityBand, ...] = ()
    dem: ElevationSource | None = None
    border: BorderSource | None = None
    border_sha256: str | None = None

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(band.name for band in self.bands)

    @property
    def continuous(self) -> tuple[BandSource, ...]:
        """The rasters of measurements, which may be averaged: bands, extras, tiles of the elevation model."""
        return (*self.bands, *self.extras, *(self.dem.tiles if self.dem else ()))

    @property
    def rasters(self) -> tuple[BandSource | QualityBand, ...]:
        """Every raster of the scene."""
        return (*self.continuous, *self.quality)

    @property
    def raster_names(self) -> tuple[str, ...]:
        """Names of the rasters, each once, as `imagery.channels.bands_needed` takes them."""
        return tuple(dict.fromkeys(raster.name for raster in self.rasters))

    @property
    def measured_names(self) -> tuple[str, ...]:
        """Names of the rasters of measurements, each once: all but those of flags."""
        return tuple(dict.fromkeys(raster.name for raster in self.continuous))

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Every channel that can be read or computed from the scene's rasters."""
        return available_channels(self.raster_names)

    def measured(self, channels: Sequence[str]) -> tuple[int, ...]:
        """Return the positions of the channels without which nothing is known of a pixel: bands and their indices.

        A gap in the others (elevation, slope, extras, quality) is filled by the mean of the channel, so that a void of
        a DEM leaves no hole in a map. If there are only such channels, all of them count.

        Args:
            channels: Names of channels, as `imagery.scene_reader.SceneReader.read` takes them.
        """
        optical = {*self.band_names, *INDICES} - {ELEVATION, *TERRAIN_UNITS}
        found = tuple(position for position, channel in enumerate(channels) if channel in optical)
        return found or tuple(range(len(channels)))

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that `json.dumps` takes and `from_json` reads back exactly."""
        document: dict[str, Any] = _CODEC.dump_python(self, mode="json")
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "SceneSource":
        """Read what `to_json` wrote; keys with a default may be missing, as in scenes of earlier versions.

        Raises:
            SceneError: Keys are missing or unknown, or a value is of the wrong type or makes no grid.
        """
        try:
            return _CODEC.validate_python(document)
        except ValidationError as error:
            raise SceneError("; ".join(_explain(dict(item)) for item in error.errors())) from error


# Built once: compiling the validator takes a thousand times as long as using it.
_CODEC: Final = TypeAdapter(SceneSource)


def _explain(problem: Mapping[str, Any]) -> str:
    """One problem that pydantic found in a scene's JSON, as "found ...; expected ..."."""
    *parents, key = problem["loc"] or ("scene",)
    where = ".".join(str(part) for part in ("scene", *parents))
    match problem["type"]:
        case "unexpected_keyword_argument":
            return f"found the unknown key {key!r} in {where}; expected only known ones"
        case "missing":
            return f"found no key {key!r} in {where}; expected the key {key!r}"
        case "value_error":  # raised by the value itself, as by `Grid`
            return f"{where}.{key}: {problem['ctx']['error']}"
    return f"found {problem['input']!r} as {key!r} in {where}; expected otherwise ({problem['msg']})"
