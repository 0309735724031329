"""Outlines of a forged scene: predicted everywhere, and judged by experts in some windows."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from numpy.typing import NDArray

from catalog import references
from catalog.context import Catalog
from catalog.records import Label, Patch, Proposal, ProposalReason, Scene, now
from catalog.registry import ModelVersion
from imagery import masks
from imagery.classes import UNKNOWN
from imagery.errors import ExportError
from imagery.glaciers import InventoryGlacier, InventoryPart
from imagery.glims import LineType
from imagery.glims_findings import ERROR, WARNING
from imagery.glims_layers import Analyst
from imagery.grid import Grid
from imagery.outline_intervals import OutlineIntervals
from imagery.outline_table import TerrainStrip
from imagery.projection import reproject
from services import glims_export
from services.glims_export import Submission, delivered_prediction, export_glims
from services.glims_lineage import standing_labels
from services.glims_request import GlimsRequest, Prediction
from services.scenes import source_of, window_of
from tests.catalog_fixtures import NOON
from tests.imagery.forge import NORTH_UP, ForgedScene
from tests.services.judging import judge
from tests.services.predicting import store_prediction
from tests.workers.rows import patches, tiled

NAMED = GlimsRequest(analysts=(Analyst("Rao", "Ila", "An institute"),))
CLASSES = ("background", "clean ice", "debris-covered ice")
PIXEL_KM2 = 0.0009
TIER_1 = "LE07_L1TP_140041_20001030_20200917_02_T1"


@pytest.fixture
def pool(catalog: Catalog, tmp_path: Path) -> tuple[Scene, ForgedScene]:
    scene, forged = tiled(catalog, tmp_path / f"{TIER_1}_B1.tif")
    facts = {"acquired": "2000-10-30", "sensor": "landsat-7-etm+"}
    with catalog.database.write() as session:
        row = session.get_one(Scene, scene.id)
        row.acquired, row.sensor = facts["acquired"], facts["sensor"]
    with catalog.read() as session:
        return session.get_one(Scene, scene.id), forged


def predicted(classes: NDArray[np.uint8], names: tuple[str, ...] = CLASSES) -> Prediction:
    return Prediction(3, names, classes, trained_on=7)


def patch_at(catalog: Catalog, scene: Scene, row: int, column: int) -> Patch:
    return next(item for item in patches(catalog, scene.id) if (item.row_off, item.col_off) == (row, column))


def exported(
    catalog: Catalog,
    scene: Scene,
    folder: Path,
    prediction: Prediction | None,
    request: GlimsRequest = NAMED,
    **more: Any,
) -> Submission:
    return export_glims(catalog, scene, folder, request, "glacier-al 0", prediction, more.get("terrain"))


def layer(folder: Path, name: str) -> tuple[NDArray[np.object_], dict[str, Any]]:
    """The outlines of a layer in pixels of the scene, and its columns."""
    meta, _, wkb, columns = pyogrio.raw.read(folder / f"{name}.shp")
    on_map = reproject(shapely.from_wkb(wkb), "EPSG:4326", "EPSG:32645")
    pixels = shapely.transform(on_map, lambda at: (at - NORTH_UP[2::3]) / (30, -30))
    return pixels, dict(zip(meta["fields"], columns, strict=True))


def test_the_prediction_alone_gives_a_submission_that_passes(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    """Clean and debris-covered ice of the forged scene are one glacier with a rock island."""
    scene, forged = pool
    done = exported(catalog, scene, tmp_path / "out", predicted(forged.truth))
    assert done.findings == []
    (glacier,), fields = layer(tmp_path / "out", "glaciers")
    ice = (forged.truth == 1) | (forged.truth == 2)
    assert glacier.area == pytest.approx(ice.sum(), abs=0.5)
    assert [round(ring) for ring in shapely.Polygon(glacier.interiors[0]).bounds] == [40, 30, 60, 45]
    assert fields["area"][0] == pytest.approx(ice.sum() * PIXEL_KM2, rel=2e-3)
    (debris,), on = layer(tmp_path / "out", "debris")
    assert debris.area == pytest.approx((forged.truth == 2).sum(), abs=0.5)
    assert on["line_type"][0] == "debris_cov"
    assert on["glac_id"][0] == fields["glac_id"][0]
    assert (fields["orig_id"][0], fields["inst_name"][0], fields["src_date"][0]) == (*(TIER_1, "ETM+", "2000-10-30"),)
    assert fields["proc_desc"][0].startswith("U-Net version 3, not edited")
    assert pyogrio.list_layers(tmp_path / "out" / "outlines.gpkg")[:, 0].tolist() == [
        *("glaciers", "images", "session", "rgi", "debris")
    ]


def test_the_map_of_a_scene_may_be_larger_than_any_mask_of_a_patch(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, forged = pool
    store_prediction(catalog, scene, forged.truth, 1)
    monkeypatch.setattr(masks, "_LARGEST_MASK_PX", forged.truth.size - 1)
    version = ModelVersion(1, "", now(), {"class_names": json.dumps(CLASSES)})
    np.testing.assert_array_equal(delivered_prediction(catalog, scene, version).classes, forged.truth)


def test_what_experts_drew_replaces_the_prediction_where_they_judged(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, forged = pool
    patch = patch_at(catalog, scene, 32, 32)
    drawn = np.zeros((32, 32), np.uint8)
    drawn[:, :8] = UNKNOWN  # not judged: the prediction stays
    judge(catalog, patch, drawn, minute=0, annotator="ila@glacier.local")
    done = exported(catalog, scene, tmp_path / "out", predicted(forged.truth))
    expected = forged.truth.copy()
    rows, columns = window_of(patch).slices
    expected[rows, columns.start + 8 : columns.stop] = 0
    ice = (expected == 1) | (expected == 2)
    found, fields = layer(tmp_path / "out", "glaciers")
    assert sum(item.area for item in found) == pytest.approx(ice.sum(), abs=1)
    assert done.making.labels == 1
    assert fields["exp_share"].max() == 0  # no ice is left where the expert judged
    assert done.making.precision.measured


def test_the_newest_judgement_counts_where_windows_were_judged_twice(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, _ = pool
    patch = patch_at(catalog, scene, 32, 32)
    judge(catalog, patch, np.ones((32, 32), np.uint8), minute=9)
    judge(catalog, patch, np.zeros((32, 32), np.uint8), minute=5)  # received later, whatever Label Studio's clock says
    nothing = predicted(np.zeros((100, 160), np.uint8))
    with pytest.raises(ExportError, match="found no glacier of at least"):
        exported(catalog, scene, tmp_path / "out", nothing)
    judge(catalog, patch, np.ones((32, 32), np.uint8), minute=12)
    exported(catalog, scene, tmp_path / "out", nothing)
    (glacier,), fields = layer(tmp_path / "out", "glaciers")
    assert glacier.area == pytest.approx(1024, abs=0.5)
    assert fields["exp_share"][0] == 1


def test_outlines_are_merged_across_patches(catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path) -> None:
    scene, _ = pool
    for minute, column in enumerate((32, 64)):
        judge(catalog, patch_at(catalog, scene, 32, column), np.ones((32, 32), np.uint8), minute=minute)
    done = exported(catalog, scene, tmp_path / "out", None)
    (glacier,), fields = layer(tmp_path / "out", "glaciers")
    assert [round(side) for side in glacier.bounds] == [32, 32, 96, 64]
    assert fields["model_ver"][0] in {"", None}
    # Nothing is known around them, so that the outline may go on there.
    assert [finding.severity for finding in done.findings] == [WARNING]
    assert fields["edge"][0] == "Y"


def test_an_accepted_label_counts_and_no_other_of_its_patch(catalog: Catalog, pool: tuple[Scene, ForgedScene]) -> None:
    """The newer label lost the dispute, and the newest was drawn on a honeypot."""
    scene, forged = pool
    patch = patch_at(catalog, scene, 0, 0)
    accepted, lost, honeypot = (judge(catalog, patch, forged.truth[:32, :32], minute=minute) for minute in (1, 2, 3))
    with catalog.database.write() as session:
        session.get_one(Label, honeypot).proposal.reason = ProposalReason.KNOWN_TRUTH

    def counted() -> list[int]:
        with catalog.read() as session:
            return [label.id for label in standing_labels(session, scene.id, simulated=True)]

    assert counted() == [accepted, lost]
    with catalog.database.write() as session:
        references.accept(session, accepted)
    assert counted() == [accepted]
    with catalog.database.write() as session:
        session.get_one(Label, accepted).superseded_at = now()
    assert counted() == [lost]


def test_a_drawing_that_is_changed_stays_below_what_was_asked_for_later(
    catalog: Catalog, pool: tuple[Scene, ForgedScene]
) -> None:
    """As where a patch was labelled anew for a second look, and the first annotator then changed the first drawing."""
    scene, forged = pool
    patch = patch_at(catalog, scene, 0, 0)
    first, second = (judge(catalog, patch, forged.truth[:32, :32], minute=minute) for minute in (1, 2))
    with catalog.database.write() as session:
        changed, look = session.get_one(Label, second), session.get_one(Label, first)
        assert changed.event_id > look.event_id
        assert changed.proposal_id > look.proposal_id
        changed.proposal_id, look.proposal_id = look.proposal_id, changed.proposal_id
        for label in (changed, look):
            session.get_one(Proposal, label.proposal_id).reason = ProposalReason.UNCERTAIN
    with catalog.read() as session:
        assert [label.id for label in standing_labels(session, scene.id, simulated=True)] == [second, first]


def test_labels_of_a_simulated_annotator_count_only_on_demand(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, _ = pool
    judge(catalog, patch_at(catalog, scene, 32, 32), np.ones((32, 32), np.uint8), minute=0, simulated=True)
    with pytest.raises(ExportError, match="found neither a predicted map nor a label of an expert"):
        exported(catalog, scene, tmp_path / "out", None)
    done = exported(catalog, scene, tmp_path / "out", None, replace(NAMED, simulated=True))
    assert "1 labels simulated" in layer(tmp_path / "out", "glaciers")[1]["proc_desc"][0]
    assert done.making.simulated == 1


def test_analysts_are_those_who_judged_a_glacier(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, forged = pool
    judge(catalog, patch_at(catalog, scene, 0, 0), np.ones((32, 32), np.uint8), minute=0, annotator="ada@glacier.local")
    judge(
        catalog, patch_at(catalog, scene, 0, 128), np.ones((32, 32), np.uint8), minute=1, annotator="ila@glacier.local"
    )
    known = GlimsRequest(of_account={"ADA@glacier.local": Analyst("Nøst", "Ada", "An institute")})
    done = exported(catalog, scene, tmp_path / "out", predicted(np.zeros_like(forged.truth)), known)
    found, fields = layer(tmp_path / "out", "glaciers")
    west, east = sorted(zip((item.bounds[0] for item in found), fields["analysts"], strict=True))
    assert west[1] == "Nøst, Ada"
    assert east[1].startswith("analyst-")
    assert [finding.layer for finding in done.findings if "no name of a person" in finding.message] == ["session"]
    assert b"glacier.local" not in b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())


def test_the_day_of_the_analysis_is_that_of_the_newest_part_of_a_glacier(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From west to east: a glacier that experts drew, one of which they judged half, and one that the model drew."""
    scene, _ = pool
    today = datetime(2026, 11, 25, 15, tzinfo=UTC)
    monkeypatch.setattr(glims_export, "now", lambda: today)
    classes = np.zeros((100, 160), np.uint8)
    classes[0:32, 0:32], classes[0:32, 48:80], classes[0:32, 96:128], classes[64:96, 128:160] = 1, 1, 1, 3
    drawn = judge(catalog, patch_at(catalog, scene, 0, 0), classes[0:32, 0:32], minute=0)
    judge(catalog, patch_at(catalog, scene, 0, 64), classes[0:32, 64:96], minute=1)
    with catalog.database.write() as session:
        session.get_one(Label, drawn).annotated_at = datetime(2024, 5, 6, 12, tzinfo=UTC)
    exported(catalog, scene, tmp_path / "out", predicted(classes, (*CLASSES, "proglacial lake")))
    found, fields = layer(tmp_path / "out", "glaciers")
    order = np.argsort([item.bounds[0] for item in found])
    assert fields["exp_share"][order].tolist() == [1.0, 0.5, 0.0]
    assert fields["anlys_time"][order].tolist() == ["2024-05-06", "2026-11-25", "2026-11-25"]
    (lake,), beside = layer(tmp_path / "out", "lakes")
    assert lake.area == pytest.approx(32 * 32, abs=0.5)
    assert (beside["glac_id"][0] or "", beside["anlys_time"][0]) == ("", "2026-11-25")
    assert np.isnan([beside["loc_unc_x"], beside["loc_unc_y"]]).all()  # not those of some glacier
    assert layer(tmp_path / "out", "session")[1]["anlys_time"].tolist() == ["2026-11-25"]
    exported(catalog, scene, tmp_path / "labels", None)
    assert layer(tmp_path / "labels", "glaciers")[1]["anlys_time"].tolist() == ["2024-05-06", NOON.date().isoformat()]


def test_uncertainty_grows_with_the_distance_between_model_and_expert(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    """The model draws the forged glacier two pixels too far to the east; an expert corrects one window."""
    scene, forged = pool
    moved = np.roll(forged.truth, 2, axis=1)
    patch = patch_at(catalog, scene, 64, 128)
    judge(catalog, patch, forged.truth[window_of(patch).slices], minute=0)
    done = exported(catalog, scene, tmp_path / "out", predicted(moved))
    _, fields = layer(tmp_path / "out", "glaciers")
    assert done.making.precision.measured
    # 26 rows of debris end in the window, by the model 2 px further east; its outline goes on along 4 px below.
    assert done.making.precision.predicted_px == pytest.approx(np.hypot(2 * 26 / (26 + 4), 12**-0.5))
    share = fields["exp_share"][0]
    mean = np.sqrt(share * (1 + 1 / 12) + (1 - share) * done.making.precision.predicted_px**2)
    assert fields["loc_unc_x"][0] == pytest.approx(30 * mean, rel=2e-3)
    assert fields["glob_unc_x"][0] == 12
    text = (tmp_path / "out" / "processing.txt").read_text()
    assert "measured where both exist" in text
    assert "12 m (as the provider states it for landsat-7-etm+)" in text


def test_the_place_of_a_landsat_image_that_is_not_of_tier_1_is_as_uncertain_as_stated(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, forged = pool
    before_the_collections = replace(NAMED, image_id="LE71400412000304SGS00")
    done = exported(catalog, scene, tmp_path / "out", predicted(forged.truth), before_the_collections)
    assert np.isnan(layer(tmp_path / "out", "glaciers")[1]["glob_unc_x"]).all()
    assert "unknown, and left empty (--geolocation-error states it)" in (tmp_path / "out/processing.txt").read_text()
    assert any("glob_unc_x" in finding.message for finding in done.findings)
    stated = replace(before_the_collections, geolocation_m=30.0)
    assert exported(catalog, scene, tmp_path / "stated", predicted(forged.truth), stated).making.geolocation_m == 30
    scene.product = {"product_id": "LE07_L1TP_140041_20001030_02_T1"}  # as a STAC item names it
    named = replace(NAMED, image_id="ours")
    assert exported(catalog, scene, tmp_path / "item", predicted(forged.truth), named).making.geolocation_m == 12


def test_a_binary_model_tells_no_debris_and_says_so(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, forged = pool
    binary = predicted((forged.truth > 0).astype(np.uint8), ("background", "glacier"))
    done = exported(catalog, scene, tmp_path / "out", binary)
    assert "debris" not in done.layers
    assert not done.making.tells_debris
    assert "does not tell debris from clean ice" in (tmp_path / "out" / "processing.txt").read_text()


def test_elevations_are_those_of_the_glaciers(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, forged = pool
    heights = np.repeat(6000.0 - 10 * np.arange(100)[:, None], 160, axis=1)
    terrain = [TerrainStrip(0, heights, np.full((100, 160), 18.0))]
    exported(catalog, scene, tmp_path / "out", predicted(forged.truth), terrain=terrain)
    _, fields = layer(tmp_path / "out", "glaciers")
    assert (fields["min_elev"][0], fields["max_elev"][0]) == (6000 - 890, 6000 - 100)
    assert layer(tmp_path / "out", "rgi")[1]["slope_deg"][0] == 18


def test_smoothed_outlines_pass_the_check(catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path) -> None:
    scene, forged = pool
    rough = np.where(np.random.default_rng(0).random(forged.truth.shape) < 0.15, np.uint8(1), forged.truth)
    done = exported(
        catalog, scene, tmp_path / "out", predicted(rough), replace(NAMED, smoothing_px=1.5, min_area_km2=0.0)
    )
    assert [finding for finding in done.findings if finding.severity == ERROR] == []
    assert done.making.precision.predicted_px > 1.05


def test_areas_have_the_intervals_of_the_prediction_where_no_expert_judged(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    """Two glaciers of 30 x 40 px: the western one has 10 rows of debris, the eastern one was judged in part."""
    scene, _ = pool
    classes = np.zeros((100, 160), np.uint8)
    classes[10:40, 10:50], classes[40:50, 10:50], classes[10:40, 100:140] = 1, 2, 1
    judge(catalog, patch_at(catalog, scene, 0, 96), classes[0:32, 96:128], minute=0)
    a, _, c, _, e, f = NORTH_UP
    spans = [(10, 50, 10, 40), (10, 50, 40, 50), (100, 140, 10, 40)]
    areas = np.array([1.08, 0.36, 1.08])  # square kilometres
    outlines = OutlineIntervals(
        np.array([shapely.box(c + a * x0, f + e * y1, c + a * x1, f + e * y0) for x0, x1, y0, y1 in spans]),
        np.array(["clean ice", "debris-covered ice", "clean ice"], dtype=object),
        *(areas * ratio for ratio in (1.0, 0.9, 1.2)),
    )
    done = exported(catalog, scene, tmp_path / "out", replace(predicted(classes), outlines=outlines))
    assert done.findings == []
    found, fields = layer(tmp_path / "out", "glaciers")
    west = int(np.argmin([item.bounds[0] for item in found]))
    names = ("area_best", "area_low", "area_high")
    assert [fields[name][west] / fields["area"][west] for name in names] == pytest.approx([1, 0.9, 1.2], rel=2e-3)
    assert np.isnan([fields[name][1 - west] for name in names]).all()
    _, debris = layer(tmp_path / "out", "debris")
    assert debris["area_high"][0] == pytest.approx(0.36 * 1.2, rel=2e-3)
    text = (tmp_path / "out" / "processing.txt").read_text()
    assert "1 of 2 glaciers have them" in text
    assert "doi:10.3189/2013AoG63A296" in text


def test_glaciers_divided_along_an_inventory_keep_its_ids_and_pass_the_check(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, _ = pool
    classes = np.zeros((100, 160), np.uint8)
    classes[10:40, 10:100], classes[40:60, 20:60], classes[70:80, 10:20] = 1, 2, 1
    a, _, c, _, e, f = NORTH_UP
    known = [
        InventoryGlacier(name, glims_id, shapely.box(c + a * left, f + e * 100, c + a * right, f))
        for name, glims_id, left, right in (
            ("RGI2000-v7.0-G-15-1", "G086780E28060N", 0, 40), ("RGI2000-v7.0-G-15-2", None, 40, 70),
        )
    ]  # fmt: skip
    request = replace(NAMED, inventory=InventoryPart(tuple(known)), inventory_name="rgi.gpkg")
    done = exported(catalog, scene, tmp_path / "out", predicted(classes), request)
    assert [finding.severity for finding in done.findings] == [WARNING], "the first does not cover the place of its id"
    found, fields = layer(tmp_path / "out", "glaciers")
    pieces = {name or "": item.area for name, item in zip(fields["rgi_id"], found, strict=True)}
    assert pieces == pytest.approx(
        {known[0].name: 30 * 30 + 20 * 20 + 100, known[1].name: 30 * 30 + 20 * 20, "": 30 * 30}, abs=0.5
    )
    assert fields["glac_id"][fields["rgi_id"] == known[0].name] == ["G086780E28060N"]
    debris, on = layer(tmp_path / "out", "debris")
    assert {name: round(item.area) for name, item in zip(on["rgi_id"], debris, strict=True)} == {
        known[0].name: 400, known[1].name: 400,
    }  # fmt: skip
    assert set(layer(tmp_path / "out", "rgi")[1]["rgi_id"]) == set(fields["rgi_id"])
    assert pyogrio.read_info(tmp_path / "out" / "outlines.gpkg", layer="glaciers")["geometry_type"] == "MultiPolygon"
    assert (
        "polygons of rgi.gpkg: 2 glaciers have the id of one of these"
        in (tmp_path / "out" / "processing.txt").read_text()
    )


def test_polygons_of_an_inventory_without_an_id_are_glaciers_of_their_own_and_give_no_id(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, _ = pool
    classes = np.zeros((100, 160), np.uint8)
    classes[10:40, 10:100] = 1
    a, _, c, _, e, f = NORTH_UP
    glaciers = [
        InventoryGlacier(name, None, shapely.box(c + a * left, f + e * 100, c + a * right, f), has_id=name[0] == "R")
        for name, left, right in (("RGI60-15.1", 0, 40), ("feature 2 of a.shp", 40, 70), ("feature 3 of a.shp", 70, 99))
    ]
    known = InventoryPart(tuple(glaciers), ("2 polygons have no id",))
    request = replace(NAMED, inventory=known, inventory_name="a.shp")
    done = exported(catalog, scene, tmp_path / "out", predicted(classes), request)
    found, fields = layer(tmp_path / "out", "glaciers")
    pieces = sorted((name or "", round(item.area)) for name, item in zip(fields["rgi_id"], found, strict=True))
    assert pieces == [("", 900), ("", 900), ("RGI60-15.1", 900)]
    assert len(set(fields["glac_id"])) == 3
    assert (done.making.of_inventory, done.making.without_id) == (1, 2)
    text = (tmp_path / "out" / "processing.txt").read_text()
    assert "1 glaciers have the id of one of these" in text
    assert "2 lie in polygons without an id. 0 lie outside all of them" in text
    assert "\na.shp: 2 polygons have no id.\n" in text


def test_the_centre_of_an_image_across_the_antimeridian_lies_in_it(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    scene, forged = pool
    x, y = shapely.get_coordinates(reproject(shapely.Point(180.0, -17.0), "EPSG:4326", "EPSG:32701"))[0]
    grid = Grid("EPSG:32701", (30.0, 0.0, x - 2400, 0.0, -30.0, y + 1500), width=160, height=100)
    scene.source = replace(source_of(scene), grid=grid).to_json()
    exported(catalog, scene, tmp_path / "out", predicted(forged.truth))
    meta, _, wkb, columns = pyogrio.raw.read(tmp_path / "out" / "images.shp")
    fields = dict(zip(meta["fields"], columns, strict=True))
    assert shapely.from_wkb(wkb)[0].geom_type == "MultiPolygon"
    assert (abs(fields["imgctrlon"][0]), fields["imgctrlat"][0]) == pytest.approx((180.0, -17.0), abs=1e-4)


@pytest.mark.parametrize(
    ("column", "message"),
    [("acquired", "found no day of the image"), ("sensor", "found no sensor; GLIMS needs the instrument")],
)
def test_what_glims_needs_and_nobody_knows_is_asked_for(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path, column: str, message: str
) -> None:
    with catalog.database.write() as session:
        setattr(session.get_one(Scene, pool[0].id), column, None)
    with catalog.read() as session:
        scene = session.get_one(Scene, pool[0].id)
    with pytest.raises(ExportError, match=message):
        exported(catalog, scene, tmp_path / "out", predicted(pool[1].truth))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("day", [date(1848, 12, 31), date(2999, 1, 1)])
def test_a_stated_day_on_which_no_image_was_taken_is_refused(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path, day: date
) -> None:
    with pytest.raises(ExportError, match=f"acquired: found {day}; expected a day from 1849-01-01 to today"):
        exported(catalog, pool[0], tmp_path / "out", predicted(pool[1].truth), replace(NAMED, acquired=day))


def test_an_image_without_an_identifier_is_named_after_its_scene_and_this_is_said(
    catalog: Catalog, tmp_path: Path
) -> None:
    scene, forged = tiled(catalog, tmp_path / "langtang.tif")
    with catalog.database.write() as session:
        row = session.get_one(Scene, scene.id)
        row.acquired, row.sensor = "2000-10-30", "sentinel-2-msi"
    with catalog.read() as session:
        scene = session.get_one(Scene, scene.id)
    done = exported(catalog, scene, tmp_path / "out", predicted(forged.truth))
    assert (done.making.is_name, done.making.image_id) == (True, scene.name)
    stated = exported(catalog, scene, tmp_path / "out", predicted(forged.truth), replace(NAMED, image_id="S2A_X"))
    assert (stated.making.is_name, stated.making.image_id) == (False, "S2A_X")
    assert stated.making.mapping.line_types["clean ice"] is LineType.GLACIER
