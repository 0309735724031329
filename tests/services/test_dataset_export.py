"""A data set of two judged windows of a pool and all windows of a test scene, in every form."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pystac
import pytest
import rasterio
import shapely
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource
from shapely.geometry import mapping, shape

from catalog import labels
from catalog.context import Catalog
from catalog.records import Patch, Scene, SceneRole
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.errors import ExportError, SceneError
from imagery.grid import Window
from imagery.projection import reproject
from services import dataset_request
from services.dataset_export import export_dataset
from services.dataset_model import ServedModel
from services.dataset_request import DatasetRequest, Form, check_request
from services.dataset_windows import labelled_scenes, labelled_windows
from services.scenes import window_of
from services.stac_items import bounding_box
from tests.imagery.forge import BAND_NAMES, ForgedScene
from tests.models.cards import origin
from tests.services.judging import judge
from tests.workers.rows import champion, patches, tiled

SCHEMAS = Path(__file__).parents[1] / "data" / "stac"
LEFT_HALF = np.repeat(np.arange(32) < 16, 32).reshape(32, 32).T


@pytest.fixture
def pool(catalog: Catalog, tmp_path: Path) -> tuple[Scene, ForgedScene]:
    scene, forged = tiled(catalog, tmp_path / "pool.tif", nodata_columns=20)
    with catalog.database.write() as session:
        session.get_one(Scene, scene.id).acquired = "2000-10-30"
    return scene, forged


@pytest.fixture
def judged(catalog: Catalog, pool: tuple[Scene, ForgedScene]) -> list[Patch]:
    """Two windows: one judged twice, whose first label was superseded by an update, and one judged in its left half."""
    scene, forged = pool
    first, second = (
        patch for patch in patches(catalog, scene.id) if (patch.row_off, patch.col_off) in {(32, 32), (64, 64)}
    )
    truth = forged.truth
    judge(catalog, first, np.zeros((32, 32), np.uint8), minute=0, annotator="old@glacier.local")
    with catalog.database.write() as session:
        (old,) = labels.current(session, first.id)
        labels.supersede(session, old.project_id, old.annotation_id)
    judge(catalog, first, truth[window_of(first).slices], minute=1)
    judge(catalog, second, truth[window_of(second).slices], minute=2, region=LEFT_HALF)
    return [first, second]


def exported(catalog: Catalog, folder: Path, model: ServedModel | None = None, **request: Any) -> dict[str, Any]:
    export_dataset(catalog, folder, DatasetRequest(**request), "glacier-al 0", model)
    return json.loads((folder / "export.json").read_text())


def slices(folder: Path) -> dict[str, dict[str, Any]]:
    return {feature["id"]: feature for feature in json.loads((folder / "slices.geojson").read_text())["features"]}


def test_images_and_masks_are_those_of_the_windows_in_both_forms(
    catalog: Catalog, judged: list[Patch], pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    exported(catalog, tmp_path / "out")
    truth = pool[1].truth
    for patch in judged:
        window = Window(patch.row_off, patch.col_off, 32, 32)
        with (
            rasterio.open(tmp_path / f"out/geotiff/train/images/img_{patch.id:06d}.tif") as image,
            rasterio.open(pool[1].path) as scene,
        ):
            pixels = image.read()
            at = rasterio.windows.Window(window.col_off, window.row_off, 32, 32)
            np.testing.assert_array_equal(pixels[:4], scene.read(window=at))
            left, top = 478000 + 30 * patch.col_off, 3108140 - 30 * patch.row_off
            assert tuple(image.transform)[:6] == (30, 0, left, 0, -30, top)
            assert image.descriptions == (*BAND_NAMES, "ndvi", "ndwi")
            assert image.units == (*["digital number"] * 4, "1", "1")
            assert (image.scales, image.offsets, np.isnan(image.nodata)) == ((1.0,) * 6, (0.0,) * 6, True)
        array = np.load(tmp_path / f"out/npy/train/images/img_{patch.id:06d}.npy")
        assert (array.dtype, array.shape) == (np.float32, (32, 32, 6))
        np.testing.assert_array_equal(np.moveaxis(array, -1, 0), pixels)
        expected = truth[window.slices].copy()
        if patch is judged[1]:
            expected[~LEFT_HALF] = UNKNOWN
        with rasterio.open(tmp_path / f"out/geotiff/train/masks/mask_{patch.id:06d}.tif") as mask:
            np.testing.assert_array_equal(mask.read(1), expected)
            assert mask.nodata == UNKNOWN
        channels = np.load(tmp_path / f"out/npy/train/masks/mask_{patch.id:06d}.npy")
        assert (channels.dtype, channels.shape) == (np.uint8, (32, 32, 2))
        for channel, value in enumerate((1, 2)):
            known = expected != UNKNOWN
            np.testing.assert_array_equal(channels[known, channel], expected[known] == value)
            assert (channels[~known] == UNKNOWN).all()


def test_footprints_are_where_the_pixels_are_not_mirrored(
    catalog: Catalog, judged: list[Patch], pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    """Published footprints of this kind are mirrored north-south (Baraka's code)."""
    exported(catalog, tmp_path / "out")
    found = slices(tmp_path / "out")
    assert set(found) == {f"{patch.id:06d}" for patch in judged}
    for patch in judged:
        feature = found[f"{patch.id:06d}"]
        on_map = reproject(shape(feature["geometry"]), "EPSG:4326", "EPSG:32645")
        left, top = 478000 + 30 * patch.col_off, 3108140 - 30 * patch.row_off
        assert shapely.box(left, top - 960, left + 960, top).symmetric_difference(on_map).area < 1
        with rasterio.open(tmp_path / "out" / feature["properties"]["image"]) as image:
            assert shapely.box(*image.bounds).equals(shapely.box(left, top - 960, left + 960, top))


def test_metadata_name_split_scene_time_and_labels(
    catalog: Catalog, judged: list[Patch], pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    exported(catalog, tmp_path / "out")
    properties = slices(tmp_path / "out")[f"{judged[1].id:06d}"]["properties"]
    assert (properties["split"], properties["role"], properties["img_source"]) == ("train", "pool", pool[0].name)
    assert (properties["timestamp"], properties["crs"]) == ("2000-10-30", "EPSG:32645")
    assert properties["img_slice"] == f"npy/train/images/img_{judged[1].id:06d}.npy"
    assert properties["unknown_share"] == 0.5
    part = pool[1].truth[window_of(judged[1]).slices][LEFT_HALF]
    assert properties["mask_mean_1"] == pytest.approx((part == 2).mean())
    assert (properties["origin"], properties["strategies"], len(properties["labels"])) == ("expert", ["random"], 1)
    rows = list(csv.DictReader((tmp_path / "out" / "labels.csv").read_text().splitlines()))
    assert len(rows) == 2  # not the superseded one
    assert {row["round"] for row in rows} == {"2", "3"}
    assert {row["simulated"] for row in rows} == {"False"}


def test_analysts_are_pseudonyms_that_stay_the_same(catalog: Catalog, judged: list[Patch], tmp_path: Path) -> None:
    about = [exported(catalog, tmp_path / name)["analysts"] for name in ("a", "b")]
    assert about[0] == about[1]
    assert len(about[0]) == 1
    for path in (tmp_path / "a").rglob("*"):
        assert path.is_dir() or b"glacier.local" not in path.read_bytes()


def test_every_file_is_in_the_checksums(catalog: Catalog, judged: list[Patch], tmp_path: Path) -> None:
    exported(catalog, tmp_path / "out")
    folder = tmp_path / "out"
    listed = {}
    for line in (folder / "checksums.sha256").read_text().splitlines():
        checksum, _, name = line.partition("  ")
        listed[name] = checksum
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == listed.keys() | {"checksums.sha256", "export.json"}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == listed[name] for name in listed)
    card = (folder / "README.md").read_text()
    assert "2 labels: 2 by people" in card
    assert json.loads((folder / "classes.json").read_text()) == GLACIER_SCHEME.model_dump(mode="json")


def test_simulated_labels_are_exported_on_demand_only_and_marked(
    catalog: Catalog, judged: list[Patch], pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    third = next(patch for patch in patches(catalog, pool[0].id) if (patch.row_off, patch.col_off) == (0, 0))
    judge(catalog, third, pool[1].truth[window_of(third).slices], minute=5, simulated=True)
    assert exported(catalog, tmp_path / "human")["windows"] == {"train": 2}
    about = exported(catalog, tmp_path / "all", simulated=True)
    assert (about["windows"], about["labels"], about["simulated_labels"]) == ({"train": 3}, 3, 1)
    assert slices(tmp_path / "all")[f"{third.id:06d}"]["properties"]["origin"] == "simulated"
    assert "simulated annotator" in about["analysts"]


def test_nothing_to_export_says_that_there_are_simulated_labels(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    first = patches(catalog, pool[0].id)[0]
    judge(catalog, first, np.zeros((32, 32), np.uint8), minute=0, simulated=True)
    with pytest.raises(ExportError, match="there are 1 of a simulated annotator: have them counted, too"):
        exported(catalog, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_scenes_to_judge_by_bring_all_their_windows_and_their_outlines(
    catalog: Catalog, judged: list[Patch], tmp_path: Path
) -> None:
    test, forged = tiled(catalog, tmp_path / "test.tif", SceneRole.TEST, offset_px=200, nodata_columns=20)
    about = exported(catalog, tmp_path / "out")
    assert about["windows"] == {"train": 2, "test": len(patches(catalog, test.id))}
    last = patches(catalog, test.id)[-1]
    with rasterio.open(tmp_path / f"out/geotiff/test/masks/mask_{last.id:06d}.tif") as mask:
        expected = forged.truth[window_of(last).slices].copy()
        expected[:, -20:] = UNKNOWN  # no data there
        np.testing.assert_array_equal(mask.read(1), expected)
    assert exported(catalog, tmp_path / "pool", roles=(SceneRole.POOL,))["windows"] == {"train": 2}


def test_channels_and_forms_are_a_choice(catalog: Catalog, judged: list[Patch], tmp_path: Path) -> None:
    exported(catalog, tmp_path / "out", channels=("nir", "ndvi"), forms=(Form.NPY,))
    assert np.load(tmp_path / f"out/npy/train/images/img_{judged[0].id:06d}.npy").shape == (32, 32, 2)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("README.md", "checksums.sha256", "classes.json", "export.json", "labels.csv", "npy", "slices.geojson")
    }
    with pytest.raises(SceneError, match="found no channel swir1; expected some of red"):
        exported(catalog, tmp_path / "other", channels=("swir1",))


def test_the_set_of_a_paper_may_be_asked_for_with_further_channels(
    catalog: Catalog, judged: list[Patch], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dataset_request, "CHANNEL_SETS", {"colours": ("red", "green", "blue")})
    about = exported(catalog, tmp_path / "out", channels=("nir", "colours", "red"), forms=(Form.NPY,))
    assert about["channels"] == ["nir", "red", "green", "blue"]


@pytest.mark.parametrize("simulated", [False, True])
def test_what_can_be_exported_is_told_without_reading_pixels(
    catalog: Catalog, pool: tuple[Scene, ForgedScene], tmp_path: Path, simulated: bool
) -> None:
    """A pool scene has a simulated label only; a test scene has outlines."""
    judge(catalog, patches(catalog, pool[0].id)[0], np.zeros((32, 32), np.uint8), minute=0, simulated=True)
    test, forged = tiled(catalog, tmp_path / "test.tif", SceneRole.TEST, offset_px=200)
    with catalog.read() as session:
        roles = tuple(SceneRole)
        windows = labelled_windows(session, roles, simulated=simulated)
        found = [scene.id for scene in labelled_scenes(session, roles, simulated=simulated)]
        assert found == [scene.id for scene, _ in windows] == ([pool[0].id] if simulated else []) + [test.id]
        forged.path.unlink()
        assert check_request(session, DatasetRequest(channels=("red",), simulated=simulated)) == ("red",)
        with pytest.raises(ExportError, match="found no form"):
            check_request(session, DatasetRequest(forms=()))


@pytest.mark.parametrize(
    ("present", "message"),
    [
        ({"mine.txt": ""}, "that is no earlier dataset of this program"),
        ({"export.json": "[]"}, "that is no earlier dataset"),
        (None, "found no folder"),
    ],
    ids=["a user's file", "another json", "a file"],
)
def test_what_is_there_is_never_overwritten(
    catalog: Catalog, judged: list[Patch], tmp_path: Path, present: dict[str, str] | None, message: str
) -> None:
    target = tmp_path / "out"
    if present is None:
        target.write_text("mine")
    else:
        target.mkdir()
        for name, text in present.items():
            (target / name).write_text(text)
    with pytest.raises(ExportError, match=message):
        exported(catalog, target)
    assert target.is_file() or {path.name for path in target.iterdir()} == set(present or ())


def test_an_earlier_export_is_replaced_unless_something_was_put_beside_it(
    catalog: Catalog, judged: list[Patch], tmp_path: Path
) -> None:
    exported(catalog, tmp_path / "out", forms=(Form.GEOTIFF,))
    exported(catalog, tmp_path / "out", forms=(Form.NPY,))
    assert not (tmp_path / "out" / "geotiff").exists()
    mine = tmp_path / "out" / "npy" / "train" / "mine.txt"
    mine.write_text("notes")
    with pytest.raises(ExportError, match=r"found npy/train/mine\.txt beside an earlier dataset"):
        exported(catalog, tmp_path / "out")
    assert mine.read_text() == "notes"
    assert [path.name for path in tmp_path.glob(".out*")] == []


def registry() -> Registry[Any]:
    """The published schemas of STAC 1.1, which pystac carries, and of its extensions (tests/data/stac)."""
    schemas = dict(get_local_schema_cache())
    for path in SCHEMAS.glob("*.json"):
        name, version = path.stem.rsplit("-", 1)
        schemas[f"https://stac-extensions.github.io/{name}/{version}/schema.json"] = json.loads(path.read_text())
    return Registry().with_resources([(uri, Resource.from_contents(schema)) for uri, schema in schemas.items()])


def validate(document: dict[str, Any], schemas: Registry[Any]) -> None:
    kind = "collection" if document["type"] == "Collection" else "item"
    core = f"https://schemas.stacspec.org/v1.1.0/{kind}-spec/json-schema/{kind}.json"
    for uri in (core, *document.get("stac_extensions", ())):
        jsonschema.Draft7Validator({"$ref": uri}, registry=schemas).validate(document)


@pytest.fixture
def served(tmp_path: Path) -> ServedModel:
    card = tmp_path / "card.json"
    card.write_text(champion(3).card.model_dump_json())
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(b"a graph")
    return ServedModel(3, json.loads(card.read_text()), {"onnx": onnx, "card": card})


def test_stac_documents_obey_the_published_schemas(
    catalog: Catalog, judged: list[Patch], served: ServedModel, tmp_path: Path
) -> None:
    exported(catalog, tmp_path / "out", served)
    documents = [tmp_path / "out" / "collection.json", *(tmp_path / "out" / "stac").iterdir()]
    assert len(documents) == 1 + 2 + 2 + 1
    schemas = registry()
    for path in documents:
        validate(json.loads(path.read_text()), schemas)
    broken = json.loads(documents[1].read_text())
    broken["geometry"]["coordinates"] = "nowhere"
    with pytest.raises(jsonschema.ValidationError):
        validate(broken, schemas)


def test_stac_links_lead_from_the_collection_to_every_file(
    catalog: Catalog, judged: list[Patch], served: ServedModel, tmp_path: Path
) -> None:
    exported(catalog, tmp_path / "out", served)
    collection = pystac.Collection.from_file(tmp_path / "out" / "collection.json")
    items = {item.id: item for item in collection.get_items()}
    assert items.keys() == {"model-version-3"} | {
        f"window-{patch.id:06d}{end}" for patch in judged for end in ("", "-labels")
    }
    for item in items.values():
        assert item.get_collection() is collection
        for asset in item.assets.values():
            path = Path(asset.get_absolute_href() or "")
            assert asset.extra_fields["file:checksum"] == f"1220{hashlib.sha256(path.read_bytes()).hexdigest()}"
            assert asset.extra_fields["file:size"] == path.stat().st_size
    window, label = (items[f"window-{judged[0].id:06d}{end}"] for end in ("", "-labels"))
    (source,) = label.get_links("source")
    assert source.resolve_stac_object().target.id == window.id
    assert set(source.extra_fields["label:assets"]) <= window.assets.keys()


def test_stac_places_windows_by_their_grid_and_dates_them_by_the_day(
    catalog: Catalog, judged: list[Patch], tmp_path: Path
) -> None:
    exported(catalog, tmp_path / "out")
    item = json.loads((tmp_path / f"out/stac/window-{judged[0].id:06d}.json").read_text())
    with rasterio.open(tmp_path / f"out/geotiff/train/images/img_{judged[0].id:06d}.tif") as image:
        assert item["properties"]["proj:code"] == image.crs.to_string() == "EPSG:32645"
        assert item["properties"]["proj:transform"] == list(image.transform)[:6]
        assert item["properties"]["proj:shape"] == [image.height, image.width]
        assert item["properties"]["proj:bbox"] == list(image.bounds)
    assert shapely.box(*item["bbox"]).equals(shapely.envelope(shape(item["geometry"])))
    assert item["properties"]["datetime"] is None
    assert item["properties"]["start_datetime"] == "2000-10-30T00:00:00Z"
    assert item["properties"]["end_datetime"] == "2000-10-30T23:59:59Z"


def test_stac_labels_cover_what_the_mask_says(catalog: Catalog, judged: list[Patch], tmp_path: Path) -> None:
    exported(catalog, tmp_path / "out")
    item = json.loads((tmp_path / f"out/stac/window-{judged[1].id:06d}-labels.json").read_text())
    (classes,) = item["properties"]["label:classes"]
    assert classes == {"name": "class", "classes": ["clean ice", "debris-covered ice", "masked/unknown"]}
    polygons = json.loads((tmp_path / f"out/labels/train/labels_{judged[1].id:06d}.geojson").read_text())["features"]
    with rasterio.open(tmp_path / f"out/geotiff/train/masks/mask_{judged[1].id:06d}.tif") as mask:
        values = mask.read(1)
    for entry in GLACIER_SCHEME.legend[1:]:
        parts = [shape(item["geometry"]) for item in polygons if item["properties"]["class"] == entry.name]
        area = sum(reproject(part, "EPSG:4326", "EPSG:32645").area for part in parts)
        assert area / 900 == pytest.approx((values == entry.value).sum(), abs=0.1)


def test_the_model_item_states_input_output_and_that_the_network_normalises(
    catalog: Catalog, judged: list[Patch], served: ServedModel, tmp_path: Path
) -> None:
    exported(catalog, tmp_path / "out", served)
    properties = json.loads((tmp_path / "out/stac/model-version-3.json").read_text())["properties"]
    (given,), (result,) = properties["mlm:input"], properties["mlm:output"]
    assert given["bands"] == list(BAND_NAMES)
    assert given["input"]["shape"] == [-1, 4, -1, -1]
    assert given["value_scaling"] is None  # a client that scaled the values would do it twice
    assert properties["mlm:hyperparameters"]["channel_means"] == [120.0] * 4
    assert [item["description"] for item in result["classification:classes"]] == list(origin().classes)


def test_a_box_across_the_antimeridian_begins_in_the_west_of_it() -> None:
    """RFC 7946, 5.2: then its first longitude is larger than its third number."""
    halves = shapely.MultiPolygon([shapely.box(179, -17, 180, -16), shapely.box(-180, -17, -178, -15)])
    assert bounding_box([mapping(halves)]) == [179, -17, -178, -15]
    assert bounding_box([mapping(shapely.box(-10, 5, 20, 6)), mapping(shapely.box(30, 7, 40, 8))]) == [-10, 5, 40, 8]
