import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from imagery.classes import UNKNOWN
from imagery.glaciers import InventoryGlacier
from imagery.glims import CODES, LineType
from imagery.glims_outlines import outline_glaciers
from imagery.glims_uncertainty import (
    EXPERT_PX,
    geolocation_error_m,
    measure_precision,
    smoothing_shift,
)
from imagery.grid import Grid
from imagery.ground_metric import pixel_size_m
from tests.imagery.forge import NORTH_UP, UTM_45N

ICE, DEBRIS, LAKE, POND = (
    CODES[kind] for kind in (LineType.GLACIER, LineType.DEBRIS, LineType.PROGLACIAL_LAKE, LineType.SUPRAGLACIAL_LAKE)
)
GRID = Grid(UTM_45N, NORTH_UP, width=60, height=50)


@pytest.fixture
def mask() -> NDArray[np.uint8]:
    """Two glaciers: one with a nunatak, a debris-covered tongue, a pond on it and a lake before it; one small."""
    mask = np.zeros((50, 60), np.uint8)
    mask[5:25, 10:40] = ICE
    mask[12:15, 20:24] = 0
    mask[25:35, 15:30] = DEBRIS
    mask[28:30, 20:22] = POND
    mask[35:38, 15:30] = LAKE
    mask[40:43, 50:53] = ICE
    return mask


def test_a_glacier_is_all_its_ice_with_the_nunatak_as_a_hole(mask: NDArray[np.uint8]) -> None:
    found = outline_glaciers(mask, GRID)
    assert (len(found.wgs84), found.dropped) == (1, 1)  # 9 pixels are 0.0081 km2
    assert found.dropped_km2 == pytest.approx(0.0081, rel=2e-3)  # the scale of UTM
    pixels = 20 * 30 - 12 + 150
    assert found.area_km2[0] == pytest.approx(pixels * 0.0009, rel=2e-3)
    (glacier,) = found.pixels
    assert shapely.equals(shapely.Polygon(glacier.interiors[0]), shapely.box(20, 12, 24, 15))
    assert (found.owner == 1).sum() == pixels


def test_what_lies_on_the_glacier_is_outlined_too_and_belongs_to_it(mask: NDArray[np.uint8]) -> None:
    found = {item.line_type: item for item in outline_glaciers(mask, GRID).others}
    assert found.keys() == {LineType.DEBRIS, LineType.SUPRAGLACIAL_LAKE, LineType.PROGLACIAL_LAKE}
    assert found[LineType.DEBRIS].area_km2 == pytest.approx(146 * 0.0009, rel=2e-3)  # without the pond
    assert found[LineType.DEBRIS].glacier == found[LineType.SUPRAGLACIAL_LAKE].glacier == 0
    assert found[LineType.PROGLACIAL_LAKE].glacier is None


def test_glaciers_are_ordered_from_north_to_south_and_small_ones_kept_on_demand(mask: NDArray[np.uint8]) -> None:
    found = outline_glaciers(mask, GRID, min_area_km2=0)
    assert found.pixels[0].bounds[1] < found.pixels[1].bounds[1]
    assert [(found.owner == number).sum() for number in (1, 2)] == [738, 9]


@pytest.mark.parametrize("smoothing_px", [0.0, 0.8, 3.0])
def test_debris_never_reaches_beyond_its_glacier(smoothing_px: float) -> None:
    generator = np.random.default_rng(3)
    field = np.kron(generator.integers(0, 3, (10, 12)), np.ones((5, 5))).astype(np.uint8)
    mask = np.where(generator.random(field.shape) < 0.1, ICE, field).astype(np.uint8)
    found = outline_glaciers(mask, GRID, smoothing_px=smoothing_px, min_area_km2=0)
    debris = [item for item in found.others if item.line_type is LineType.DEBRIS]
    assert debris
    for item in debris:
        beyond = item.wgs84.difference(found.wgs84[item.glacier].buffer(1e-7))
        assert beyond.area < 1e-3 * item.wgs84.area
    for first, second in zip(*shapely.STRtree(found.wgs84).query(found.wgs84, predicate="overlaps"), strict=True):
        assert found.wgs84[first].intersection(found.wgs84[second]).area < 1e-12


def test_glaciers_that_end_where_nothing_is_known_are_marked(mask: NDArray[np.uint8]) -> None:
    assert outline_glaciers(mask, GRID).touches_edge.tolist() == [False]
    beside = mask.copy()
    beside[10, 40] = UNKNOWN
    assert outline_glaciers(beside, GRID).touches_edge.tolist() == [True]
    at_border = mask.copy()
    at_border[:5, 12] = ICE
    assert outline_glaciers(at_border, GRID).touches_edge.tolist() == [True]


def glacier(name: str, left: float, right: float, bottom: float) -> InventoryGlacier:
    """The ground between two columns, above a row."""
    a, _, c, _, e, f = NORTH_UP
    return InventoryGlacier(name, None, shapely.box(c + a * left, f + e * bottom, c + a * right, f))


def test_connected_ice_is_divided_along_the_polygons_of_an_inventory() -> None:
    mask = np.zeros((50, 60), np.uint8)
    mask[5:25, 10:50] = ICE
    mask[25:35, 15:35] = DEBRIS
    mask[40:46, 10:16] = ICE
    found = outline_glaciers(mask, GRID, inventory=[glacier("west", 5, 25, 50), glacier("east", 25, 38, 33)])
    assert [item and item.name for item in found.inventory] == ["west", "east", None]
    pixels = [
        15 * 20 + 10 * 10 + 6 * 6,  # its second part is not connected with the first
        13 * 20 + 10 * 10,  # the lowest two rows of debris, outside of both, border it longest
        12 * 20,
    ]
    assert [polygon.area for polygon in found.pixels] == pixels
    assert np.bincount(found.owner[found.owner > 0])[1:].tolist() == pixels
    assert [polygon.geom_type for polygon in found.wgs84] == ["MultiPolygon", "Polygon", "Polygon"]
    assert found.area_km2 == pytest.approx(np.array(pixels) * 0.0009, rel=2e-3)
    assert {item.glacier: item.pixels.bounds for item in found.others} == {
        0: (15, 25, 25, 35),
        1: (25, 25, 35, 35),
    }


def test_a_margin_around_several_glaciers_belongs_to_each_of_them() -> None:
    """An inventory whose outlines are a pixel too small all around: 80 pixels, which are one ring."""
    mask = np.zeros((50, 60), np.uint8)
    mask[5:25, 5:45] = ICE
    a, _, c, _, e, f = NORTH_UP
    inventory = [
        InventoryGlacier(name, None, shapely.box(c + a * left, f + e * 24, c + a * right, f + e * 6))
        for name, left, right in (("west", 6, 25), ("east", 25, 44))
    ]
    found = outline_glaciers(mask, GRID, inventory=inventory)
    areas = {item and item.name: polygon.area for item, polygon in zip(found.inventory, found.pixels, strict=True)}
    assert areas == pytest.approx({"west": 400, "east": 400}, abs=9)  # the ring is cut within 4.5 px of the divide
    assert sum(areas.values()) == pytest.approx(800)


def test_several_polygons_of_one_id_are_one_glacier_and_ice_far_from_all_stays_as_it_is(
    mask: NDArray[np.uint8],
) -> None:
    pieces = [glacier("one", 10, 17, 50), glacier("one", 16, 40, 50)]
    found = outline_glaciers(mask, GRID, inventory=pieces, min_area_km2=0)
    assert [item and item.name for item in found.inventory] == ["one", None]
    assert [polygon.area for polygon in found.pixels] == [738, 9]


def test_where_polygons_of_an_inventory_overlap_the_later_counts(mask: NDArray[np.uint8]) -> None:
    found = outline_glaciers(mask, GRID, inventory=[glacier("west", 5, 28, 50), glacier("east", 25, 60, 50)])
    assert {item and item.name: polygon.area for item, polygon in zip(found.inventory, found.pixels, strict=True)} == {
        "west": 15 * 20 - 12 + 10 * 10,
        "east": 15 * 20 + 5 * 10 + 9,
    }


@pytest.mark.parametrize("smoothing_px", [0.0, 1.5])
def test_divided_glaciers_and_their_debris_fit_each_other(smoothing_px: float) -> None:
    generator = np.random.default_rng(5)
    mask = np.kron(generator.integers(1, 3, (10, 12)), np.ones((5, 5))).astype(np.uint8)
    mask[generator.random(mask.shape) < 0.05] = 0
    a, _, c, _, e, f = NORTH_UP
    corner, far = (c + a * 7, f + e * 50), (c + a * 60, f + e * 3)
    slant = [((c, f), far, corner), (far, corner, (c + a * 60, f + e * 50))]
    inventory = [InventoryGlacier(str(number), None, shapely.Polygon(ring)) for number, ring in enumerate(slant)]
    found = outline_glaciers(mask, GRID, smoothing_px=smoothing_px, min_area_km2=0, inventory=inventory)
    whole = outline_glaciers(mask, GRID, smoothing_px=smoothing_px, min_area_km2=0)
    assert found.area_km2.sum() == pytest.approx(whole.area_km2.sum(), rel=1e-5)
    debris = [
        sum(item.pixels.area for item in each.others if item.line_type is LineType.DEBRIS) for each in (found, whole)
    ]
    assert debris[0] == pytest.approx(debris[1], rel=1e-4)
    for item in found.others:
        assert item.pixels.difference(found.pixels[item.glacier].buffer(1e-3)).area < 1e-3
    for first, second in zip(*shapely.STRtree(found.pixels).query(found.pixels, predicate="intersects"), strict=True):
        assert first == second or found.pixels[first].intersection(found.pixels[second]).area < 1e-6


def test_a_scene_without_ice_has_no_glaciers() -> None:
    found = outline_glaciers(np.zeros((50, 60), np.uint8), GRID)
    assert (len(found.wgs84), found.dropped, found.others) == (0, 0, ())


def test_precision_is_the_area_between_two_outlines_over_their_length() -> None:
    """The model's outline of a square of 20 px lies one pixel outside the expert's on one of its four sides."""
    labelled = np.zeros((40, 40), np.bool_)
    labelled[10:30, 10:30] = True
    predicted = labelled.copy()
    predicted[10:30, 30] = True
    found = measure_precision(predicted, labelled, np.ones_like(labelled), 0.0)
    assert found.measured
    assert found.predicted_px**2 == pytest.approx((20 / 82) ** 2 + 1 / 12)
    assert found.expert_px**2 == pytest.approx(EXPERT_PX**2 + 1 / 12)
    half = found.local_px(np.array([0.5]))[0] ** 2
    assert half == pytest.approx((found.predicted_px**2 + found.expert_px**2) / 2)
    nobody = measure_precision(predicted, labelled, np.zeros_like(labelled), 0.5)
    assert (nobody.measured, nobody.predicted_px) == (False, nobody.expert_px)
    assert nobody.expert_px**2 == pytest.approx(EXPERT_PX**2 + 1 / 12 + 0.25)
    assert smoothing_shift(8.0, labelled, np.ones_like(labelled)) == pytest.approx(0.1)


def test_pixels_are_measured_on_the_ground_and_images_placed_as_their_providers_say() -> None:
    across, down = pixel_size_m(Grid("EPSG:4326", (0.001, 0, 86, 0, -0.001, 60.05), 100, 100))
    assert (across, down) == pytest.approx((55.8, 111.4), abs=0.1)  # a degree of longitude at 60 degrees north is half
    assert geolocation_error_m("sentinel-2-msi", None) == 6.25
    assert geolocation_error_m(None, "LC08_L1TP_140041_20181026_20200830_02_T1") is None
    for tier_1 in ("LC08_L1TP_140041_20181026_20200830_02_T1", "LC08_L2SP_140041_20181026_02_T1_SR"):
        assert geolocation_error_m("landsat-8-oli", tier_1) == 12
    for other in (
        *("LC08_L1TP_140041_20181026_20200830_02_T2", "LC08_L1TP_140041_20181026_20200830_02_RT"),
        *("LC08_L1GT_140041_20181026_20200830_02_T2", "LC81400412018299LGN00", "LC08_140041_20181026"),
        *("HLS.L30.T45RVL.2018299T044110.v2.0", "site_T1", None),
    ):
        assert geolocation_error_m("landsat-8-oli", other) is None
