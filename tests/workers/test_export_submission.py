"""Outlines for GLIMS as operators ask for them over HTTP: what is stated is in the files, which are read back."""

import io
import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyogrio
import pytest
import shapely
from sqlalchemy import select

from catalog import failures, jobs, registry_copy
from catalog.context import Catalog
from catalog.data_set_records import DataSetLabel
from catalog.records import Job, JobState, Label, Patch, PatchState, Scene, now
from catalog.registry import ModelVersion
from imagery.errors import OutlineError
from imagery.glaciers import read_inventory
from imagery.glims_check import check_submission
from imagery.glims_findings import WARNING
from services import made_files, raster_keys
from services.delivery import delivery_options
from services.glims_export import export_glims
from services.places import raster_store
from services.predictions import is_predicted
from services.scenes import source_of
from services.sent_uploads import abandoned_uploads
from services.stored_files import orphans
from services.submissions import Contents, KnownSubmission
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from tests.services.judging import judge
from tests.services.predicting import store_prediction
from tests.services.test_glims_export import layer
from tests.workers.rows import champion, patches
from tests.workers.test_export_glims import TAGS, VERSION, Asking, asking  # noqa: F401 - a fixture
from workers.jobs import perform

SUBMISSIONS = "/api/v1/glims-submissions"
ILA, AN_INSTITUTE = "ila@glacier.local", "Rao, Ila, An institute"
PIXEL_KM2 = 0.0009
# Of 15 x 15 pixels, see the fixture.
SMALL_KM2 = 225 * PIXEL_KM2


def ask(asked: Asking, **options: Any) -> Any:
    headers = as_role(asked.catalog, "operator")
    return asked.client.post(SUBMISSIONS, json={"scene": asked.scene.id, **options}, headers=headers)


def listed(asked: Asking) -> list[dict[str, Any]]:
    response: Any = asked.client.get(SUBMISSIONS, headers=as_role(asked.catalog, "operator"))
    assert response.status_code == 200
    found: list[dict[str, Any]] = response.json
    return found


def carry_out(asked: Asking, job_id: str) -> Job:
    with asked.catalog.write() as session:
        job = jobs.claim(session, job_id)
    assert job is not None
    perform(asked.catalog, job)
    with asked.catalog.read() as session:
        return session.get_one(Job, job_id)


def contents_of(asked: Asking) -> Contents:
    with asked.catalog.read() as session:
        contents = made_files.listed(session, KnownSubmission)[0].contents
    assert contents is not None
    return contents


def made(asked: Asking, folder: Path, **options: Any) -> Path:
    """Ask for a submission, have its job done, and unpack what is served."""
    accepted = ask(asked, **options)
    assert accepted.status_code == 202, accepted.text
    job = carry_out(asked, accepted.json["id"])
    assert (job.state, job.error) == (JobState.FINISHED, None)
    headers = as_role(asked.catalog, "operator")
    address = listed(asked)[0]["file"]
    with asked.client.get(address, headers=headers) as sent, ZipFile(io.BytesIO(sent.data)) as archive:
        archive.extractall(folder)
    return folder


def corner(asked: Asking) -> Patch:
    """The patch in the north-west, where the larger glacier reaches into."""
    return next(item for item in patches(asked.catalog, asked.scene.id) if (item.row_off, item.col_off) == (0, 0))


def judge_corner(asked: Asking, **changes: Any) -> Patch:
    """Store a label that says there is no glacier in the corner."""
    patch = corner(asked)
    judge(asked.catalog, patch, np.zeros((32, 32), np.uint8), minute=1, **changes)
    return patch


def text_of(folder: Path) -> str:
    return (folder / "processing.txt").read_text("utf-8")


def area_px(folder: Path) -> float:
    return float(shapely.area(layer(folder, "glaciers")[0]).sum())


def test_without_options_it_is_the_package_of_the_map(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    folder = made(asking, tmp_path / "stated")
    of_map = asking.package(tmp_path / "map")
    assert {path.name for path in folder.iterdir()} == {path.name for path in of_map.iterdir()}
    for name in ("glaciers", "images", "session", "rgi"):
        found, expected = layer(folder, name), layer(of_map, name)
        assert all(shapely.equals(found[0], expected[0]))
        assert found[1].keys() == expected[1].keys()
        for field, column in found[1].items():
            np.testing.assert_array_equal(column, expected[1][field])
    contents = contents_of(asking)
    assert contents.findings == check_submission(folder)
    # The image is from before the collections, and the provider states no error of its place.
    told = {(finding.severity, finding.layer, finding.message.partition(";")[0]) for finding in contents.findings}
    lacking = {(WARNING, "glaciers", f"found no glob_unc_{axis}") for axis in "xy"}
    assert lacking < told
    assert {(severity, name) for severity, name, _ in told - lacking} == {(WARNING, "session")}
    assert (contents.glaciers, contents.labels, contents.layers["images"]) == (2, 0, 1)
    assert contents.area_km2 == pytest.approx((asking.forged.truth != 0).sum() * PIXEL_KM2, rel=2e-3)
    assert (contents.image_id, contents.image_is_named) == ("LE71400412000304SGS00", True)


def test_outlines_of_a_scene_that_was_replaced_meanwhile_are_refused(
    asking: Asking,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def replaced_at_the_end(catalog: Catalog, scene: Scene, *arguments: Any) -> Any:
        done = export_glims(catalog, scene, *arguments)
        with catalog.database.write() as session:
            session.get_one(Scene, scene.id).revision += 1
        return done

    monkeypatch.setattr("workers.export_submission.export_glims", replaced_at_the_end)
    accepted = ask(asking)
    assert accepted.status_code == 202
    job = carry_out(asking, accepted.json["id"])
    assert job.state is JobState.FAILED
    assert "was replaced or removed meanwhile; have it made again" in str(job.error)


def test_what_is_stated_is_in_the_tables(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    judge(asking.catalog, corner(asking), asking.forged.truth[:32, :32], minute=1, annotator=ILA)
    folder = made(
        asking,
        tmp_path / "out",
        analysts=[f"{ILA}={AN_INSTITUTE}", "Nøstlinger, Ada"],
        geolocation_error_m=5,
        image_id="X1",
        instrument="ETM+ SLC-on",
        acquired="2000-10-29",
    )
    _, glaciers = layer(folder, "glaciers")
    assert set(glaciers["glob_unc_x"]) == {5.0}
    assert set(glaciers["orig_id"]) == {"X1"}
    assert set(glaciers["inst_name"]) == {"ETM+ SLC-on"}
    assert set(glaciers["src_date"]) == {"2000-10-29"}
    # Ila judged a part of the first glacier; the model drew the second one, which all answer for.
    assert sorted(glaciers["analysts"]) == ["Nøstlinger, Ada; Rao, Ila", "Rao, Ila"]
    _, session = layer(folder, "session")
    assert sorted(zip(session["anlst_surn"], session["anlst_affl"], strict=True)) == [
        ("Nøstlinger", None),
        ("Rao", "An institute"),
    ]
    assert ILA not in "".join(path.read_bytes().decode("latin-1") for path in folder.iterdir())


def test_small_glaciers_are_left_out_as_stated(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    assert len(layer(made(asking, tmp_path / "one", min_area_km2=SMALL_KM2 * 1.1), "glaciers")[0]) == 1
    assert len(layer(made(asking, tmp_path / "both", min_area_km2=SMALL_KM2 * 0.9), "glaciers")[0]) == 2
    failed = carry_out(asking, ask(asking, min_area_km2=1000).json["id"])
    assert failed.state is JobState.FAILED
    assert "found no glacier of at least 1000 km2, but 2 smaller ones" in (failed.error or "")


def test_classes_are_left_out_as_stated(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    folder = made(asking, tmp_path / "out", line_types={"debris-covered ice": "none"})
    assert not (folder / "debris.shp").exists()
    assert area_px(folder) == pytest.approx((asking.forged.truth == 1).sum(), rel=1e-3)


def test_outlines_are_smoothed_as_stated(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    judge(asking.catalog, corner(asking), np.triu(np.ones((32, 32), np.uint8)), minute=1)  # its edge has 31 steps

    def corners(folder: Path) -> int:
        return int(shapely.get_num_coordinates(layer(folder, "glaciers")[0]).sum())

    exact, smooth = made(asking, tmp_path / "exact"), made(asking, tmp_path / "smooth", smoothing_px=0.8)
    assert corners(exact) - corners(smooth) >= 2 * 29  # a line but for its ends


def test_without_the_model_only_what_experts_drew_counts(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    refused = ask(asking, labels_only=True)
    assert refused.status_code == 409
    assert "found neither a served version nor a label" in refused.json["detail"]
    patch = corner(asking)
    truth = np.zeros((32, 32), np.uint8)
    truth[4:24, 4:24] = 1
    judge(asking.catalog, patch, truth, minute=1)
    folder = made(asking, tmp_path / "out", labels_only=True)
    assert area_px(folder) == pytest.approx(400, rel=1e-3)
    assert set(layer(folder, "glaciers")[1]["model_ver"]) == {None}


def test_labels_of_a_simulated_annotator_count_only_if_asked_for(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    judge_corner(asking, simulated=True)
    drawn = made(asking, tmp_path / "without")
    assert contents_of(asking).labels == 0
    simulated = made(asking, tmp_path / "with", simulated=True)
    assert (contents_of(asking).labels, contents_of(asking).simulated_labels) == (1, 1)
    with asking.catalog.read() as session:
        assert session.scalars(select(DataSetLabel.label_id)).all() == session.scalars(select(Label.id)).all()
    assert area_px(simulated) < area_px(drawn)


def test_labels_of_patches_that_wait_count_only_if_asked_for(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    """Whoever is asked for a patch again is not to find in a file what was drawn there."""
    patch = judge_corner(asking)
    with asking.catalog.write() as session:
        session.get_one(Patch, patch.id).state = PatchState.PROPOSED
    without = made(asking, tmp_path / "without")
    assert area_px(without) == pytest.approx((asking.forged.truth != 0).sum(), rel=1e-3)
    assert "no earlier label of it counts" in text_of(without)
    with_it = made(asking, tmp_path / "with", waiting=True)
    assert area_px(with_it) == pytest.approx(
        (asking.forged.truth != 0).sum() - (asking.forged.truth[:32, :32] != 0).sum(), rel=1e-3
    )
    assert "no earlier label of it counts" not in text_of(with_it)


def test_ice_is_divided_along_the_inventory_of_the_settings(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    refused = ask(asking, inventory=True)
    assert refused.status_code == 422
    assert refused.json["detail"].startswith("inventory: found none, as the setting glacier_inventory names no file")
    folder = made(asking, tmp_path / "whole")
    _, _, wkb, _ = pyogrio.raw.read(folder / "glaciers.shp")
    polygons = shapely.from_wkb(wkb)
    pyogrio.raw.write(
        tmp_path / "rgi.gpkg", shapely.to_wkb(polygons), geometry_type="Polygon", crs="EPSG:4326",
        field_data=[np.array(["RGI60-1", "RGI60-2"], dtype=object)], fields=["RGIId"], driver="GPKG",
    )  # fmt: skip
    settings = asking.catalog.settings
    # The map is stored under a key that names the inventory: with another one it would be predicted anew.
    asking.catalog.settings = settings.model_copy(update={"glacier_inventory": str(tmp_path / "rgi.gpkg")})
    store_prediction(asking.catalog, asking.scene, asking.forged.truth, VERSION)
    divided = made(asking, tmp_path / "divided", inventory=True)
    assert sorted(layer(divided, "glaciers")[1]["rgi_id"]) == ["RGI60-1", "RGI60-2"]
    assert contents_of(asking).of_inventory == 2
    assert "rgi_id" not in layer(made(asking, tmp_path / "undivided"), "glaciers")[1]


def inventory(asked: Asking, folder: Path, crs: str = "EPSG:4326") -> bytes:
    """Return a GeoPackage with the two glaciers of the map in the layer "rgi", and a layer with nothing near them."""
    _, _, wkb, _ = pyogrio.raw.read(made(asked, folder / "whole") / "glaciers.shp")
    polygons, file = shapely.from_wkb(wkb), folder / "rgi.gpkg"
    for name, shapes in (("rgi", polygons), ("far", shapely.transform(polygons, lambda points: points + 20))):
        pyogrio.raw.write(
            file, shapely.to_wkb(shapes), geometry_type="Polygon", crs=crs, layer=name, append=file.exists(),
            field_data=[np.array(["RGI60-1", "RGI60-2"], dtype=object)], fields=["number"], driver="GPKG",
        )  # fmt: skip
    return file.read_bytes()


def send(asked: Asking, content: bytes, name: str = "rgi.gpkg", **options: Any) -> Any:
    """Ask for a submission with an inventory that is sent."""
    form = {"options": json.dumps({"scene": asked.scene.id, **options}), "inventory": (io.BytesIO(content), name)}
    return asked.client.post(SUBMISSIONS, data=form, headers=as_role(asked.catalog, "operator"))


def kept(asked: Asking) -> list[str]:
    """Return the files that are kept for jobs."""
    return [key for key in raster_store(asked.catalog).all_keys() if raster_keys.is_upload(key)]


def test_ice_is_divided_along_an_inventory_that_is_sent(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    content = inventory(asking, tmp_path)
    accepted = send(asking, content, inventory_layer="rgi", glacier_id="number")
    assert accepted.status_code == 202, accepted.text
    uid = accepted.json["subject"]["uid"]
    assert kept(asking) == [f"uploads/{uid}.gpkg"]
    assert raster_store(asking.catalog).get(f"uploads/{uid}.gpkg") == content
    job = carry_out(asking, accepted.json["id"])
    assert (job.state, job.error) == (JobState.FINISHED, None)
    assert kept(asking) == []
    newest = listed(asking)[0]
    assert (newest["inventory"], newest["contents"]["of_inventory"]) == ("rgi.gpkg", 2)
    with asking.client.get(newest["file"], headers=as_role(asking.catalog, "operator")) as sent:
        ZipFile(io.BytesIO(sent.data)).extractall(tmp_path / "divided")
    assert sorted(layer(tmp_path / "divided", "glaciers")[1]["rgi_id"]) == ["RGI60-1", "RGI60-2"]
    assert "rgi.gpkg" in text_of(tmp_path / "divided")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"inventory_layer": "rgi", "glacier_id": "id"},
            "inventory: the file: found no field 'id'; expected one of",
        ),
        ({"inventory_layer": "far"}, "inventory: the file: found no glacier on the ground of the image; expected some"),
        ({"inventory_layer": "gone"}, "inventory: the file: found no layer 'gone'"),
    ],
)
def test_an_inventory_that_does_not_fit_is_refused_as_by_the_command_line(
    asking: Asking,  # noqa: F811
    tmp_path: Path,
    options: dict[str, Any],
    told: str,
) -> None:
    content = inventory(asking, tmp_path)
    before = listed(asking)
    assert_problem(send(asking, content, **options), 422, told)
    path = str(tmp_path / "rgi.gpkg")
    with pytest.raises(OutlineError) as refused:
        read_inventory(path, options["inventory_layer"], source_of(asking.scene).grid, options.get("glacier_id"))
    assert str(refused.value).replace(path, "the file").startswith(told.removeprefix("inventory: "))
    assert (listed(asking), kept(asking)) == (before, [])


def test_a_form_that_is_none_is_refused(asking: Asking) -> None:  # noqa: F811
    headers = as_role(asking.catalog, "operator")
    assert_problem(
        send(asking, b"no file"), 422, "inventory: found a file that is neither a GeoPackage nor a zip archive"
    )
    assert_problem(send(asking, b"PK\x03\x04", name="../rgi.zip"), 422, "inventory: found the file name '../rgi.zip'")
    assert_problem(send(asking, b"PK\x03\x04 is no zip", name="rgi.zip"), 422, "inventory: the file: ")
    assert_problem(ask(asking, glacier_id="id"), 422, "glacier_id: found 'id', but no inventory was sent")
    for form, told in (
        ({"options": "{}"}, "scene"),
        ({"options": f'{{"scene": {asking.scene.id}}}'}, "inventory: found 0 parts of this name, expected one"),
        ({"options": "[]"}, "options is a list, expected a JSON object"),
        ({"options": "{"}, "options is not JSON"),
        ({"inventory": (io.BytesIO(b"x"), "a.gpkg")}, "options: found 0 parts of this name, expected one"),
        ({"options": "{}", "scene": "1"}, "found the unknown part(s) scene, expected options and the file inventory"),
    ):
        sent = asking.client.post(SUBMISSIONS, data=form, headers=headers, content_type="multipart/form-data")
        assert_problem(sent, 422, told)
    assert (listed(asking), kept(asking)) == ([], [])


def test_a_sent_inventory_is_kept_while_its_job_may_run_again(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    accepted = send(asking, inventory(asking, tmp_path), inventory_layer="rgi")
    job_id, store = accepted.json["id"], raster_store(asking.catalog)

    def clean_up() -> None:
        with asking.catalog.read() as session:
            for key in abandoned_uploads(session, store, store.all_keys()):
                store.delete(key)

    with asking.catalog.write() as session:
        job = jobs.claim(session, job_id)
        assert job is not None
        assert jobs.try_again(session, job_id, job.attempt, "the disk was full", max_failures=3)
    clean_up()
    assert len(kept(asking)) == 1
    with asking.catalog.read() as session:  # nor does a check of the installation take it for a file of nobody
        assert orphans(session, store, kept(asking)) == []
    with asking.catalog.write() as session:
        session.get_one(Job, job_id).run_after = now()
        failures.cancel(session, job_id)
    clean_up()
    assert len(kept(asking)) == 1
    with asking.catalog.write() as session:
        failures.retry(session, job_id)
    ended = carry_out(asking, job_id)
    assert (ended.state, ended.error) == (JobState.FINISHED, None)
    assert kept(asking) == []


def test_a_sent_inventory_that_is_lost_is_asked_for_again(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    accepted = send(asking, inventory(asking, tmp_path), inventory_layer="rgi")
    for key in kept(asking):
        raster_store(asking.catalog).delete(key)
    ended = carry_out(asking, accepted.json["id"])
    assert ended.state is JobState.FAILED
    assert "is damaged, or not in the raster store any more; ask for the outlines anew" in (ended.error or "")


def test_a_sent_inventory_is_gone_with_its_submission(asking: Asking, tmp_path: Path) -> None:  # noqa: F811
    uid = send(asking, inventory(asking, tmp_path), inventory_layer="rgi").json["subject"]["uid"]
    asking.client.delete(f"{SUBMISSIONS}/{uid}", headers=as_role(asking.catalog, "operator"))
    assert kept(asking) == []


def test_a_scene_that_is_not_predicted_yet_is_predicted_first(
    asking: Asking,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with asking.catalog.write() as session:
        registry_copy.store(session, [ModelVersion(2, "", now(), TAGS)])
        registry_copy.set_aliases(session, {"champion": 2})
    monkeypatch.setattr("workers.export_submission.load_version", lambda _, number: champion(number, seed=1))
    options = delivery_options(asking.catalog.settings)
    assert not is_predicted(asking.catalog, asking.scene, 2, options)
    folder = made(asking, tmp_path / "out")
    assert is_predicted(asking.catalog, asking.scene, 2, options)
    assert set(layer(folder, "glaciers")[1]["model_ver"]) == {"2"}


def test_the_job_of_one_that_is_removed_ends(asking: Asking) -> None:  # noqa: F811
    accepted = ask(asking).json["id"]
    headers = as_role(asking.catalog, "operator")
    uid = listed(asking)[0]["id"]
    with asking.catalog.write() as session:
        job = jobs.claim(session, accepted)
        assert job is not None
    assert asking.client.delete(f"{SUBMISSIONS}/{uid}", headers=headers).status_code == 200
    perform(asking.catalog, job)
    with asking.catalog.read() as session:
        assert session.get_one(Job, accepted).state is JobState.CANCELLED
        assert made_files.listed(session, KnownSubmission) == []


def test_what_is_not_known_any_more_when_the_job_runs_is_said(asking: Asking) -> None:  # noqa: F811
    accepted = ask(asking).json["id"]
    with asking.catalog.write() as session:
        session.get_one(Scene, asking.scene.id).sensor = None
    failed = carry_out(asking, accepted)
    assert failed.state is JobState.FAILED
    assert "found no sensor" in (failed.error or "")
