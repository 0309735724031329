"""Files on the datums of older surveys: placed by a known shift, or refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from imagery.border import BorderSource
from imagery.describe_elevation import describe_dem
from imagery.describe_scene import describe
from imagery.errors import OutlineError, SceneError
from imagery.extra_channels import describe_extra
from imagery.grid import Grid
from imagery.scene_source import BandSource, ElevationSource
from imagery.vectors import read_layer
from tests.imagery.forge import NORTH_UP, UTM_45N, write_geotiff, write_polygons

SIDE = 40
GRID = Grid(UTM_45N, NORTH_UP, SIDE, SIDE)
# 600 m x 600 m in the middle of the scene.
SQUARE = shapely.box(478300, 3107240, 478900, 3107840)
# As ArcGIS writes a .prj on the ellipsoid of the Survey of India, of which no parameters are known.
EVEREST = (
    'GEOGCS["GCS_Everest_local",DATUM["D_Everest_local",SPHEROID["Everest_1830",6377276.345,300.8017]],'
    'PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]]'
)
WITH_SHIFT = "+proj=longlat +a=6377276.345 +rf=300.8017 +towgs84=295,736,257,0,0,0,0 +no_defs +type=crs"
REFUSED = (
    r"found no known transformation from the datum 'World Geodetic System 1984.*' to 'D_Everest_local' at the scene"
)


def degrees(folder: Path, name: str, crs: str) -> str:
    """A raster in degrees that covers the scene with 1000 to 5095."""
    numbers = np.arange(1000, 5096, dtype=np.int16).reshape(64, 64)
    return str(write_geotiff(folder / name, numbers, crs=crs, transform=(0.0003, 0, 86.772, 0, -0.0003, 28.1)))


def red(folder: Path) -> BandSource:
    return BandSource("red", str(write_geotiff(folder / "red.tif", np.ones((SIDE, SIDE), np.uint8))), 1)


@pytest.mark.parametrize(
    "crs",
    [
        *("EPSG:4326", "EPSG:4979", "EPSG:32644", "EPSG:32646", "EPSG:3857", "EPSG:32645+5773"),
        *("EPSG:4258", "EPSG:4269", "EPSG:7789", "EPSG:9000", "EPSG:7922", "EPSG:4490", "EPSG:8247", "EPSG:4322"),
        *("+proj=longlat +ellps=GRS80 +type=crs", "+proj=longlat +ellps=WGS72 +type=crs", "EPSG:4030", "EPSG:4019"),
        *("+proj=sinu +R=6371007.181 +units=m +type=crs", "EPSG:4047"),  # the spheres of MODIS
        *("EPSG:24345", WITH_SHIFT),  # older surveys whose shift is known here
    ],
)
def test_systems_that_agree_or_whose_shift_is_known_are_accepted(crs: str) -> None:
    assert GRID.unknown_shift(crs) is None


@pytest.mark.parametrize(
    "crs", [EVEREST, "EPSG:4042", "EPSG:4243", "EPSG:4131", "EPSG:4214", "EPSG:2414", "EPSG:4248", "EPSG:4211"]
)
def test_a_shift_that_nobody_knows_here_is_told(crs: str) -> None:
    assert str(GRID.unknown_shift(crs)).startswith("from the datum 'World Geodetic System 1984")


def test_surveys_on_one_ellipsoid_are_told_apart() -> None:
    pulkovo = Grid("EPSG:28415", (30.0, 0.0, 15300000.0, 0.0, -30.0, 3108140.0), SIDE, SIDE)
    assert pulkovo.unknown_shift("EPSG:4284") is None
    assert pulkovo.unknown_shift("EPSG:4214") == "from the datum 'Pulkovo 1942' to 'Beijing 1954'"


@pytest.mark.parametrize(
    "use",
    [
        lambda folder, path: describe([red(folder), BandSource("nir", path, 1)]),
        lambda folder, path: describe([red(folder)], dem=ElevationSource(describe_dem([path], GRID)[0])),
        lambda _, path: describe_extra("velocity", path, 1, GRID),
    ],
    ids=["band", "DEM", "channel"],
)
def test_rasters_whose_place_is_not_known_are_refused(tmp_path: Path, use: Callable[[Path, str], object]) -> None:
    path = degrees(tmp_path, "everest.tif", EVEREST)
    with pytest.raises(SceneError, match=rf"^{path}: {REFUSED}; .* gdalwarp -t_srs EPSG:4326 -s_srs .*towgs84"):
        use(tmp_path, path)
    use(tmp_path, degrees(tmp_path, "wgs84.tif", "EPSG:4326"))


def test_outlines_and_borders_whose_place_is_not_known_are_refused(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [_moved(SQUARE, "EPSG:4326")]}, crs=EVEREST)
    with pytest.raises(OutlineError, match=rf"^{path}: {REFUSED}"):
        read_layer(str(path), None, GRID)
    with pytest.raises(OutlineError, match=rf"^{path}: {REFUSED}"):
        describe([red(tmp_path)], border=BorderSource(str(path)))


def test_outlines_with_the_parameters_of_their_survey_lie_where_they_should(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [_moved(SQUARE, WITH_SHIFT)]}, crs=WITH_SHIFT)
    (placed,) = read_layer(str(path), None, GRID).polygons
    assert placed.hausdorff_distance(SQUARE) < 0.1  # m


def _moved(polygon: shapely.Polygon, crs: str) -> shapely.Polygon:
    move = Transformer.from_crs(UTM_45N, crs, always_xy=True)
    return shapely.transform(polygon, lambda points: np.column_stack(move.transform(*points.T)))
