"""The description of a scene: which bands lie where, and on which grid. It is stored as JSON with every scene."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from imagery.border import BorderSource
from imagery.channels import available_channels
from imagery.errors import SceneError
from imagery.grid import Grid


@dataclass(frozen=True)
class BandSource:
    """Where one band of a scene lies.

    Attributes:
        name: The band's name ("nir").
        path: The GeoTIFF: a local path, or an address that GDAL reads (see `imagery.paths`).
        index: The band's number in the file, from 1.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    name: str
    path: str
    index: int


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
        nodata: A value that means no data in every band, in addition to the nodata values of the files. Not in the DEM.
        resampled: The files on other grids.
        dem: Elevation in metres, or None.
        border: Polygons outside of which nothing is known, or None.
        border_sha256: Checksum of the border (see `imagery.vectors.VectorLayer`), by which a reader notices that the
            file was changed. None without a border, and in scenes registered before checksums were stored, whose border
            is not checked.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    bands: tuple[BandSource, ...]
    grid: Grid
    offset: tuple[int, int]
    nodata: float | None
    resampled: tuple[FileGrid, ...] = ()
    dem: BandSource | None = None
    border: BorderSource | None = None
    border_sha256: str | None = None

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(band.name for band in self.bands)

    @property
    def rasters(self) -> tuple[BandSource, ...]:
        """The bands and, last, elevation if there is a digital elevation model."""
        return self.bands if self.dem is None else (*self.bands, self.dem)

    @property
    def raster_names(self) -> tuple[str, ...]:
        """Names of the rasters, in order, as `imagery.channels.bands_needed` takes them."""
        return tuple(raster.name for raster in self.rasters)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Every channel that can be read or computed from the scene's rasters."""
        return available_channels(self.raster_names)

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
