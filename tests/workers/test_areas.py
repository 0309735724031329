"""Areas, intervals and confidence of a predicted scene, from the prediction to the delivered fields."""

import tracemalloc
from io import BytesIO

import numpy as np
import pytest
import rasterio
from shapely.geometry import box

from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.cog import confidence_map_to_cog
from imagery.grid import Grid
from imagery.outline_owners import OutlineOwners
from imagery.outline_table import tabulate
from models.area_fit import fit_area_error
from models.calibration import UNCALIBRATED, probability_bins
from tests.imagery.forge import NORTH_UP, UTM_45N
from tests.models.area_worlds import evidence, world
from workers.areas import VersionCalibration, _sums_of_regions, area_report, confidence_map, with_areas
from workers.predicted_scene import PredictedScene

NAMES = GLACIER_SCHEME.names
SIDE = 512
GRID = Grid(UTM_45N, NORTH_UP, SIDE, SIDE)


@pytest.fixture(scope="module")
def calibration():
    return VersionCalibration(NAMES, "glacier", fit_area_error(evidence(*world(0, 512)), NAMES, "glacier"))


def predicted(probabilities, unknown_rows=0) -> PredictedScene:
    classes = probabilities.argmax(axis=0).astype(np.uint8)
    classes[:unknown_rows] = UNKNOWN
    file = BytesIO(np.moveaxis(probability_bins(probabilities), 0, 1).tobytes())
    return PredictedScene(classes, len(probabilities), file)


@pytest.fixture(scope="module")
def scene():
    truth, probabilities = world(7, SIDE)
    return truth, predicted(probabilities)


def test_every_outline_has_an_area_with_its_interval_and_its_confidence(calibration, scene):
    _, prediction = scene
    table = with_areas(tabulate(prediction.classes, GRID, NAMES), prediction, GRID, calibration)
    fields = table.fields
    assert all(len(name) <= 10 for name in fields)
    assert (fields["area_low"] <= fields["area_best"]).all()
    assert (fields["area_best"] <= fields["area_high"]).all()
    assert (fields["area_low"] >= 0).all()
    assert ((fields["conf_mean"] > 0) & (fields["conf_mean"] < 1)).all()
    large = fields["area_km2"] > 3
    small = fields["area_km2"] < 0.03
    width = (fields["area_high"] - fields["area_low"]) / fields["area_km2"]
    assert np.median(width[small]) > 2 * np.median(width[large])  # small outlines are less certain
    assert fields["area_best"][large].sum() == pytest.approx(fields["area_km2"][large].sum(), rel=0.2)


def test_totals_hold_the_true_area_and_say_how_they_were_checked(calibration, scene):
    truth, prediction = scene
    table = tabulate(prediction.classes, GRID, NAMES)
    report = area_report(table, prediction, GRID, calibration, "langtang", 4)
    assert [total.name for total in report.totals] == ["clean ice", "debris-covered ice", "glacier"]
    assert [total.experts_differ for total in report.totals] == [0.05, 0.3, None]
    for total, values in zip(report.totals, ((1,), (2,), (1, 2)), strict=True):
        assert total.low_km2 < np.isin(truth, values).sum() * 900 / 1e6 < total.high_km2
        assert total.mapped_km2 == pytest.approx(np.isin(prediction.classes, values).sum() * 900 / 1e6, rel=1e-3)
        assert total.error == pytest.approx((total.high_km2 - total.low_km2) / 2 / total.area_km2)
        (held_out,) = total.held_out
        assert (held_out.ground, held_out.blocks > 39, total.undefined_because) == ("validation", True, None)
    assert report.totals[0].outlines == (table.fields["class"] == "clean ice").sum()
    assert "Paul" in report.experts_source


def test_areas_do_not_depend_on_how_many_rows_are_worked_on_together(calibration, scene, monkeypatch):
    _, prediction = scene
    table = tabulate(prediction.classes, GRID, NAMES)
    whole = with_areas(table, prediction, GRID, calibration), area_report(table, prediction, GRID, calibration, "a", 1)
    monkeypatch.setattr("workers.predicted_scene._ROWS", 64)
    parts = with_areas(table, prediction, GRID, calibration), area_report(table, prediction, GRID, calibration, "a", 1)
    for name in ("area_best", "area_low", "area_high", "conf_mean"):
        np.testing.assert_allclose(parts[0].fields[name], whole[0].fields[name])
    for one, other in zip(parts[1].totals, whole[1].totals, strict=True):
        assert one.low_km2 == pytest.approx(other.low_km2)


def test_a_version_without_a_fit_gets_null_and_the_reason(scene):
    _, prediction = scene
    calibration = VersionCalibration(NAMES, "glacier", None)
    table = with_areas(tabulate(prediction.classes, GRID, NAMES), prediction, GRID, calibration)
    assert np.isnan(table.fields["area_low"]).all()
    assert (table.fields["conf_mean"] > 0).all()
    total = area_report(table, prediction, GRID, calibration, "a", 1).totals[0]
    assert (total.area_km2, total.low_km2, total.blocks) == (None, None, None)
    assert "did not measure" in total.undefined_because
    assert total.mapped_km2 > 0


def test_too_little_validation_ground_is_said(scene):
    _, prediction = scene
    fit = fit_area_error(evidence(*world(0, 160)), NAMES, "glacier")
    calibration = VersionCalibration(NAMES, "glacier", fit)
    table = tabulate(prediction.classes, GRID, NAMES)
    total = area_report(table, prediction, GRID, calibration, "a", 1).totals[0]
    assert total.low_km2 is None
    assert f"found {total.blocks} blocks of validation ground" in total.undefined_because
    assert "at least 39" in total.undefined_because


def test_a_class_that_the_validation_ground_lacks_has_no_interval_and_keeps_its_probabilities(scene):
    """All debris of the validation ground is outlined as clean ice."""
    _, prediction = scene
    truth, probabilities = world(0, 384)
    fit = fit_area_error(evidence(np.where(truth == 2, 1, truth), probabilities), NAMES, "glacier")
    calibration = VersionCalibration(NAMES, "glacier", fit)
    table = with_areas(tabulate(prediction.classes, GRID, NAMES), prediction, GRID, calibration)
    is_debris = table.fields["class"] == "debris-covered ice"
    for name in ("area_best", "area_low", "area_high"):
        np.testing.assert_array_equal(np.isnan(table.fields[name]), is_debris)
    raw = with_areas(table, prediction, GRID, VersionCalibration(NAMES, "glacier", None)).fields["conf_mean"]
    np.testing.assert_array_equal(table.fields["conf_mean"][is_debris], raw[is_debris])
    clean, debris, glacier = area_report(table, prediction, GRID, calibration, "a", 1).totals
    assert (debris.area_km2, debris.low_km2, debris.high_km2, debris.error) == (None, None, None, None)
    assert debris.mapped_km2 > 0
    assert debris.undefined_because == (
        "found no debris-covered ice in the outlines of the validation ground; expected some: register validation "
        "ground with outlines of debris-covered ice"
    )
    assert clean.area_km2 > 0
    assert glacier.area_km2 > 0


def test_glaciers_of_an_inventory_have_areas_of_their_own(calibration, scene):
    """The scene in two halves, and a corner that both parts of a third glacier share with the first."""
    truth, prediction = scene
    left, bottom, right, top = GRID.bounds
    middle, edge = left + 256 * 30, left + 64 * 30
    glaciers = [
        ("west", box(left + 128 * 30, bottom, middle, top)),
        ("east", box(middle, bottom, right, top)),
        ("two parts", box(left, bottom, edge, top)),
        ("two parts", box(edge, bottom, left + 128 * 30, top)),
    ]
    table = tabulate(prediction.classes, GRID, NAMES)
    report = area_report(table, prediction, GRID, calibration, "a", 1, glaciers)
    assert [glacier.id for glacier in report.glaciers] == ["west", "east", "two parts"]
    columns = (slice(128, 256), slice(256, 512), slice(0, 128))
    for glacier, cols in zip(report.glaciers, columns, strict=True):
        assert [area.name for area in glacier.areas] == ["clean ice", "debris-covered ice", "glacier"]
        for area, values in zip(glacier.areas, ((1,), (2,), (1, 2)), strict=True):
            mapped, true = (np.isin(of[:, cols], values).sum() * 900 / 1e6 for of in (prediction.classes, truth))
            assert area.mapped_km2 == pytest.approx(mapped, rel=1e-3)
            assert area.low_km2 <= true <= area.high_km2
    for number, total in enumerate(report.totals):
        best = sum(glacier.areas[number].area_km2 for glacier in report.glaciers)
        assert best == pytest.approx(total.area_km2, rel=1e-6)
        # a part is known less well than the whole
        assert min(glacier.areas[number].error for glacier in report.glaciers) > total.error


def test_blocks_with_data_are_counted_in_memory_that_does_not_grow_with_the_cells_of_each_glacier(calibration):
    """The first glacier is in columns 10 to 99 and rows 20 to 299, of which 20 to 63 are unknown; others are beside."""
    _, probabilities = world(7, SIDE)
    prediction, table = predicted(probabilities, unknown_rows=64), calibration.table_of((1,))
    left, _, _, top = GRID.bounds
    polygons = np.array([box(left + 10 * 30, top - 300 * 30, left + 100 * 30, top - 20 * 30)], dtype=object)
    count, cells = 200_000, (SIDE // 32) ** 2
    tracemalloc.start()
    try:
        _, _, blocks = _sums_of_regions(prediction, GRID, table, (1,), OutlineOwners(polygons, GRID), count, 64)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert blocks == [2 * 4] + [0] * (count - 1)  # columns 0 and 64 on; rows 64, 128, 192 and 256 on, in two strips
    assert peak < count * cells  # a byte for each cell of each glacier
    _, _, blocks = _sums_of_regions(prediction, GRID, table, (1,), None, 1, 64)
    assert blocks == [8 * 7]
    assert _sums_of_regions(prediction, GRID, table, (1,), None, 1, None)[2] is None


def test_polygons_are_grouped_by_id_in_one_pass(calibration):
    class Glaciers(list):
        passes = 0

        def __iter__(self):
            self.passes += 1
            return super().__iter__()

    grid = Grid(UTM_45N, NORTH_UP, 64, 64)
    left, _, _, top = grid.bounds
    glaciers = Glaciers(
        (f"{column % 16}", box(left + column * 60, top - 1920, left + column * 60 + 60, top)) for column in range(32)
    )
    ice = np.zeros((3, 64, 64), np.float32)
    ice[1] = 1
    prediction = predicted(ice)
    report = area_report(tabulate(prediction.classes, grid, NAMES), prediction, grid, calibration, "a", 1, glaciers)
    assert glaciers.passes == 1
    assert [glacier.id for glacier in report.glaciers] == [f"{number}" for number in range(16)]
    # Each has two columns of 2 x 64 px.
    mapped = [glacier.areas[0].mapped_km2 for glacier in report.glaciers]
    assert mapped == pytest.approx([256 * 0.0009] * 16, rel=1e-3)


def test_a_scene_without_ice_has_no_outlines_and_no_area(calibration):
    nothing = np.zeros((3, 64, 64), np.float32)
    nothing[0] = 1
    prediction, grid = predicted(nothing), Grid(UTM_45N, NORTH_UP, 64, 64)
    table = with_areas(tabulate(prediction.classes, grid, NAMES), prediction, grid, calibration)
    assert len(table.fields["area_low"]) == 0
    total = area_report(table, prediction, grid, calibration, "a", 1).totals[0]
    assert (total.mapped_km2, total.area_km2, total.outlines) == (0, None, 0)
    assert total.undefined_because == "found no clean ice in the map"


def test_confidence_is_the_calibrated_probability_of_the_class_shown(calibration, tmp_path):
    truth, probabilities = world(7, SIDE)
    found = confidence_map(predicted(probabilities, unknown_rows=5), calibration)
    assert (found[:5] == 255).all()
    shown = probabilities.argmax(axis=0)
    of_pixel = probability_bins(probabilities[:, 50, 60]).max()
    assert found[50, 60] == round(100 * calibration.tables[shown[50, 60]][of_pixel])
    raw = confidence_map(predicted(probabilities), VersionCalibration(NAMES, "glacier", None))
    assert raw[50, 60] == round(100 * UNCALIBRATED[of_pixel])
    # The mean confidence says which share of the pixels is right, after the calibration.
    right = (shown == truth).mean()
    assert raw.mean() / 100 > right + 0.05
    assert found[5:].mean() / 100 == pytest.approx(right, abs=0.02)
    path = tmp_path / "confidence.tif"
    path.write_bytes(confidence_map_to_cog(found, GRID, "what it is"))
    with rasterio.open(path) as dataset:
        assert (dataset.nodata, dataset.dtypes, dataset.scales) == (255, ("uint8",), (0.01,))
        assert dataset.descriptions == ("what it is",)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        np.testing.assert_array_equal(dataset.read(1), found)
