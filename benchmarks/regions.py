"""The regions on which learning and choosing are measured: ground with known truth, cut into pool, validation and test.

``python -m benchmarks.regions`` makes them all and prints the table of ``docs/benchmarks.md``; others call `load`.

- *everest*: the Everest scene (4 bands of 8 bit, mapped outlines) by four splits, the test strip in the west, east,
  north or south. They share ground, so they count as one region when regions are resampled (`RegionSpec.place`).
- *semi-real*: real relief and real outlines of four places (``benchmarks/data``), on which surfaces, debris, snow,
  shadow, cloud and noise are made.
- *synthetic*: made-up relief, too, over shares of ice, debris and cloud, and over errors of the labels.

A region takes a few seconds to make. It is then kept as one ``.npz`` file, which needs nothing but numpy to read, so
that a machine without GDAL can use it.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.imperfect_labels import drawn_in_haste
from benchmarks.report import BENCH, markdown
from experiments.region import Part, Raster, Region
from imagery.classes import BACKGROUND, GLACIER_SCHEME, UNKNOWN
from imagery.grid import Window
from imagery.synthetic_pixels import QUALITY_CLOUD, Landscape, SyntheticOptions
from imagery.synthetic_radiometry import REFLECTIVE
from imagery.synthetic_surface import Shares
from imagery.synthetic_terrain import PIXEL_M
from imagery.terrain import slope_degrees

PATCH_PX: Final = 64
DATA: Final = Path(__file__).parent / "data"
CACHE: Final = BENCH / "regions"
_FORMAT: Final = 2  # raise it when the making of regions changes, so that kept ones are made again

Group = Literal["everest", "semi-real", "synthetic"]
Axis = Literal["columns", "rows"]
Order = tuple[Part, Part, Part]

_TEST_FIRST: Final[Order] = ("test", "pool", "validation")
_TEST_LAST: Final[Order] = ("validation", "pool", "test")

_REFLECTIVE_USED: Final = ("blue", "green", "red", "nir", "swir1", "swir2")


@dataclass(frozen=True)
class RegionSpec:
    """What a region is made of, and how it is divided.

    The strips and the seeds of synthetic regions were chosen so that clean and debris-covered ice occur in each part;
    nothing was trained for that choice.

    Attributes:
        name: Name of the region.
        group: Kind of ground.
        along: The axis along which three strips follow each other.
        cuts: First pixel of the second and of the third strip.
        order: Which part each strip is, from the west or from the north.
        seed: Of all that is made.
        shares: Class shares asked for; where outlines are real, only those of debris and cloud count.
        border_px: Error of drawn borders, standard deviation in pixels; 0 draws the truth.
        debris_missed: Share of the ground on which debris-covered ice is not recognised by the annotator.
        place: Where it lies; regions of one place are not independent of each other. Real relief and outlines are in
            ``benchmarks/data`` by this name.
        size: Rows and columns of 30 m.
    """

    name: str
    group: Group
    along: Axis
    cuts: tuple[int, int]
    order: Order
    seed: int = 0
    shares: Shares = field(default_factory=Shares)
    border_px: float = 0.0
    debris_missed: float = 0.0
    place: str = ""
    size: tuple[int, int] = (0, 0)


def _everest(side: str, along: Axis, order: Order) -> RegionSpec:
    cuts = (200, 600) if along == "columns" else (163, 492)
    return RegionSpec(f"everest-{side}", "everest", along, cuts, order, place="everest", size=(655, 800))


def _on(place: str, seed: int, debris: float, size: tuple[int, int], cuts: tuple[int, int], order: Order) -> RegionSpec:
    return RegionSpec(place, "semi-real", "columns", cuts, order, seed, Shares(0, debris, 0.03), 0.5, 0.1, place, size)


def _synthetic(
    name: str, seed: int, clean: float, debris: float, cloud: float = 0.03, noisy: bool = False
) -> RegionSpec:
    errors = (1.0, 0.2) if noisy else (0.0, 0.0)
    shares, size, cuts = Shares(clean, debris, cloud), (10 * PATCH_PX, 15 * PATCH_PX), (3 * PATCH_PX, 12 * PATCH_PX)
    return RegionSpec(name, "synthetic", "columns", cuts, _TEST_FIRST, seed, shares, *errors, name, size)


SPECS: Final[Mapping[str, RegionSpec]] = {
    spec.name: spec
    for spec in (
        _everest("west", "columns", _TEST_FIRST),
        _everest("east", "columns", _TEST_LAST),
        _everest("north", "rows", _TEST_FIRST),
        _everest("south", "rows", _TEST_LAST),
        _on("hintereisferner", 11, 0.012, (832, 640), (384, 512), ("pool", "validation", "test")),
        _on("oetztal", 12, 0.012, (896, 576), (64, 128), ("test", "validation", "pool")),
        _on("baltoro", 13, 0.10, (704, 896), (192, 384), ("test", "validation", "pool")),
        _on("exploradores", 14, 0.05, (618, 539), (128, 411), _TEST_LAST),
        _synthetic("rare-ice", 55, 0.08, 0.012),
        _synthetic("rare-ice-noisy", 60, 0.08, 0.012, noisy=True),
        _synthetic("common-ice", 21, 0.218, 0.024),
        _synthetic("common-ice-noisy", 25, 0.218, 0.024, noisy=True),
        _synthetic("much-ice", 23, 0.42, 0.03),
        _synthetic("much-debris", 28, 0.22, 0.10),
        _synthetic("rare-debris", 58, 0.20, 0.006),
        _synthetic("cloudy", 31, 0.20, 0.03, cloud=0.20),
        _synthetic("cloudy-noisy", 44, 0.12, 0.03, cloud=0.20, noisy=True),
    )
}
"""All regions by name."""


def divide(spec: RegionSpec) -> dict[Part, Window]:
    """Return the strip of each part of a region."""
    height, width = spec.size
    edges = (0, *spec.cuts, width if spec.along == "columns" else height)
    return {
        part: Window(0, first, height, end - first) if spec.along == "columns" else Window(first, 0, end - first, width)
        for part, first, end in zip(spec.order, edges, edges[1:], strict=False)
    }


def load(name: str, folder: Path = CACHE) -> Region:
    """Return a region, from the folder's file or, without one, made and kept there."""
    spec = SPECS[name]
    channels, whole = read_whole(spec, folder)
    parts = {part: (whole.cut(window),) for part, window in divide(spec).items()}
    return Region(name, GLACIER_SCHEME, channels, parts, PATCH_PX)


def read_whole(spec: RegionSpec, folder: Path) -> tuple[tuple[str, ...], Raster]:
    """Return the channels and the undivided raster of a region, from the folder's file or made and kept there."""
    file = folder / f"{spec.place}-{_FORMAT}.npz"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        made = _read_everest(folder) if spec.group == "everest" else _made(spec)
        unfinished = file.with_suffix(f".{id(made)}.part.npz")
        np.savez_compressed(unfinished, allow_pickle=False, **made)
        unfinished.replace(file)  # another process may make the same region meanwhile
    with np.load(file) as kept:
        return _raster(spec, dict(kept))


def _raster(spec: RegionSpec, kept: Mapping[str, NDArray[np.generic]]) -> tuple[tuple[str, ...], Raster]:
    """Put a region together from what is kept of it."""
    truth, bands = kept["truth"].astype(np.uint8), kept["bands"]
    names = tuple(str(name) for name in kept["names"])
    layers = [np.where(bands == 0, np.nan, bands).astype(np.float32)] if spec.group != "everest" else [bands]
    if "elevation" in kept:
        elevation = kept["elevation"].astype(np.float32)
        padded = np.pad(elevation, 1, constant_values=np.nan)
        flat = np.array([PIXEL_M**2, 0.0, PIXEL_M**2]).reshape(3, 1, 1)  # the metric of square pixels
        layers += [elevation[None], slope_degrees(padded, flat)[None]]
        names += ("elevation", "slope")
    image = np.concatenate(layers).astype(np.float32)
    drawn = truth
    if spec.border_px or spec.debris_missed:
        drawn = drawn_in_haste(truth, spec.seed, spec.border_px, spec.debris_missed)
    return names, Raster(image, truth, drawn, kept["unmasked"].astype(np.bool_))


def _made(spec: RegionSpec) -> dict[str, NDArray[np.generic]]:
    """Make a semi-real or synthetic region."""
    ground = None
    options = SyntheticOptions(shares=spec.shares)
    if spec.group == "semi-real":
        from imagery.masks import OutlineLayer
        from imagery.synthetic_ground import MappedGround
        from imagery.synthetic_site import read_site, site_grid

        dem, outlines = str(DATA / f"{spec.place}.tif"), str(DATA / f"{spec.place}.geojson")
        site = read_site(dem, [OutlineLayer(outlines, None, "clean ice")], site_grid(dem, *spec.size))
        ground = MappedGround(site.elevation_m, site.classes, spec.seed, spec.shares, options.lake_share)
    height, width = spec.size
    landscape = Landscape(height, width, spec.seed, options, ground)
    even = height + height % 2, width + width % 2
    pixels = landscape.pixels(Window(0, 0, *even))
    rows, cols = (np.arange(length, dtype=np.float64) for length in spec.size)
    elevation = landscape.ground.heights(rows, cols)
    elevation[landscape.ground.is_void(rows, cols)] = np.nan
    reflective = pixels.reflective[[REFLECTIVE.index(name) for name in _REFLECTIVE_USED]]
    thermal = pixels.thermal[1].repeat(2, axis=0).repeat(2, axis=1)  # high gain, on pixels of 30 m
    inside = slice(height), slice(width)
    return {
        "names": np.array([*_REFLECTIVE_USED, "thermal_high"]),
        "bands": np.concatenate([reflective, thermal[None]])[:, *inside],
        "elevation": elevation.astype(np.float32),
        "truth": pixels.truth[inside],
        "unmasked": (pixels.quality != QUALITY_CLOUD)[inside],
    }


def _read_everest(folder: Path) -> dict[str, NDArray[np.generic]]:
    """Read the whole Everest scene and its truth."""
    from imagery.describe_scene import describe
    from imagery.everest import prepare
    from imagery.masks import rasterize_outlines
    from imagery.scene_reader import SceneReader

    everest = prepare(folder / "everest")
    source = describe(everest.bands)
    with SceneReader(source) as reader:
        bands = reader.read(source.band_names, source.grid.window)
    truth = rasterize_outlines(everest.outlines, source.grid, GLACIER_SCHEME)
    return {
        "names": np.array(source.band_names),
        "bands": bands.astype(np.uint8),
        "truth": truth,
        "unmasked": np.ones(truth.shape, dtype=np.bool_),
    }


def describe_region(name: str, folder: Path) -> dict[str, object]:
    """Return a row of the table of regions."""
    spec = SPECS[name]
    region, (_, whole) = load(name, folder), read_whole(spec, folder)
    row: dict[str, object] = {"region": name, "group": spec.group}
    judged = whole.truth != UNKNOWN
    for entry in GLACIER_SCHEME.classes:
        if entry.value != BACKGROUND:
            row[entry.name] = f"{np.mean(whole.truth[judged] == entry.value):.1%}"
    row["cloud"] = f"{np.mean(~whole.unmasked):.1%}"
    row["labels wrong"] = f"{np.mean(whole.drawn[judged] != whole.truth[judged]):.1%}"
    masks = {part: region.masks(part, drawn=False) for part in region.parts}
    row |= {f"{part} patches": len(of_part) for part, of_part in masks.items()}
    row["of the pool without ice"] = int(sum(not ((mask == 1) | (mask == 2)).any() for mask in masks["pool"]))
    return row


def main() -> None:
    """Make all regions and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=CACHE)
    folder = parser.parse_args().folder
    print(markdown([describe_region(name, folder) for name in SPECS]))


if __name__ == "__main__":
    main()
