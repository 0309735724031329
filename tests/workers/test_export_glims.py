"""GLIMS packages of the map: asked for over HTTP, written by the job, and served."""

import io
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import shapely
from flask.testing import FlaskClient

from catalog import jobs, prediction_uses, registry_copy
from catalog.context import Catalog
from catalog.prediction_uses import PredictionUse
from catalog.records import Job, JobKind, Patch, PatchState, Scene, now
from catalog.registry import ModelVersion
from imagery.glims_check import check_submission
from imagery.glims_findings import ERROR
from services.places import raster_store
from services.raster_keys import prediction_of
from services.unused_predictions import remove_unused
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from tests.imagery.forge import ForgedScene
from tests.services.judging import judge
from tests.services.predicting import store_prediction
from tests.services.test_glims_export import layer
from tests.workers.rows import finish, patches, tiled
from workers.export_glims import export_glims
from workers.jobs import JobContext

VERSION = 1
TAGS = {"class_names": '["background", "clean ice", "debris-covered ice"]'}
# In degrees: the north-west of the scene, which the second glacier does not reach; and all of it.
NORTH_WEST, ALL = "86.780,28.085,86.800,28.100", "86,28,88,29"


@dataclass(frozen=True)
class Asking:
    """A reader, and a scene with two glaciers that the served version maps as it is."""

    client: FlaskClient
    catalog: Catalog
    scene: Scene
    forged: ForgedScene

    def answer(self, bbox: str | None = None) -> Any:
        query = {} if bbox is None else {"bbox": bbox}
        address = f"/api/v1/scenes/{self.scene.id}/prediction.glims.zip"
        return self.client.get(address, headers=as_role(self.catalog, "reader"), query_string=query)

    def package(self, folder: Path, bbox: str | None = None) -> Path:
        """Ask for a package, let the job write it, and unpack what is served."""
        first = self.answer(bbox)
        assert (first.status_code, first.json["kind"]) == (202, "export_glims"), first.text
        assert self.answer(bbox).json["id"] == first.json["id"]
        self.work(first.json["id"])
        served = self.answer(bbox)
        assert (served.status_code, served.content_type) == (200, "application/zip")
        with ZipFile(io.BytesIO(served.data)) as archive:
            archive.extractall(folder)
        return folder

    def work(self, job_id: str) -> None:
        with self.catalog.database.write() as session:
            job = jobs.claim(session, job_id)
        assert job is not None
        context = JobContext(self.catalog, job)
        export_glims(context, **job.subject)
        finish(context)


@pytest.fixture
def asking(client: FlaskClient, catalog: Catalog, tmp_path: Path) -> Asking:
    scene, forged = tiled(catalog, tmp_path / "LE71400412000304SGS00_B1.tif")
    with catalog.database.write() as session:
        row = session.get_one(Scene, scene.id)
        row.acquired, row.sensor = "2000-10-30", "landsat-7-etm+"
        registry_copy.store(session, [ModelVersion(VERSION, "", now(), TAGS)])
        registry_copy.set_aliases(session, {"champion": VERSION})
    forged.truth[80:95, 140:155] = 1  # a second glacier, in the south-east
    with catalog.read() as session:
        scene = session.get_one(Scene, scene.id)
    store_prediction(catalog, scene, forged.truth, VERSION)
    return Asking(client, catalog, scene, forged)


def test_a_package_of_the_whole_scene_is_fit_for_glims(asking: Asking, tmp_path: Path) -> None:
    folder = asking.package(tmp_path / "whole")
    assert [finding for finding in check_submission(folder) if finding.severity == ERROR] == []
    glaciers, fields = layer(folder, "glaciers")
    assert len(glaciers) == 2
    assert sorted(len(glacier.interiors) for glacier in glaciers) == [0, 1]
    assert set(fields["model_ver"]) == {str(VERSION)}
    assert "analyst" in (folder / "check.txt").read_text()  # who judged is not known: a wish, no error


def test_a_package_of_a_view_has_its_glaciers_whole(asking: Asking, tmp_path: Path) -> None:
    glaciers, _ = layer(asking.package(tmp_path / "view", NORTH_WEST), "glaciers")
    assert len(glaciers) == 1
    area = (asking.forged.truth != 0).sum() - 15 * 15
    assert shapely.area(glaciers[0]) == pytest.approx(area, rel=1e-3)
    assert asking.answer(ALL).status_code == 202  # another view, another package


def test_a_new_label_makes_another_package(asking: Asking, tmp_path: Path) -> None:
    asking.package(tmp_path / "before")
    patch = next(item for item in patches(asking.catalog, asking.scene.id) if (item.row_off, item.col_off) == (0, 0))
    judge(asking.catalog, patch, np.zeros((32, 32), np.uint8), minute=1)
    glaciers, fields = layer(asking.package(tmp_path / "after"), "glaciers")
    assert shapely.area(glaciers).sum() < (asking.forged.truth != 0).sum()
    assert not any("@" in str(name) for name in fields["analysts"])  # pseudonyms, no accounts


def test_a_package_does_not_tell_what_was_drawn_where_a_patch_waits_for_an_annotator(
    asking: Asking, tmp_path: Path
) -> None:
    before, _ = layer(asking.package(tmp_path / "before"), "glaciers")
    patch = next(item for item in patches(asking.catalog, asking.scene.id) if (item.row_off, item.col_off) == (0, 0))
    judge(asking.catalog, patch, np.zeros((32, 32), np.uint8), minute=1)  # a glacier is there, the label says none
    with asking.catalog.database.write() as session:
        session.get_one(Patch, patch.id).state = PatchState.PROPOSED
    again = asking.answer()
    if again.status_code == 202:  # made anew or not, it is as it was
        asking.work(again.json["id"])
        again = asking.answer()
    with ZipFile(io.BytesIO(again.data)) as archive:
        archive.extractall(tmp_path / "again")
    waiting, _ = layer(tmp_path / "again", "glaciers")
    assert shapely.area(waiting).sum() == shapely.area(before).sum()
    assert "no earlier label of it counts" in (tmp_path / "again" / "processing.txt").read_text()
    with asking.catalog.database.write() as session:
        session.get_one(Patch, patch.id).state = PatchState.LABELLED
    after, _ = layer(asking.package(tmp_path / "after"), "glaciers")
    assert shapely.area(after).sum() < shapely.area(before).sum()


@pytest.mark.parametrize("waits_first", [True, False])
def test_a_package_holds_what_its_key_says_whatever_happens_before_it_is_made(
    asking: Asking, tmp_path: Path, waits_first: bool
) -> None:
    """Asked for while a patch waits and made once it is answered, or the reverse; and then asked for again."""
    patch = next(item for item in patches(asking.catalog, asking.scene.id) if (item.row_off, item.col_off) == (0, 0))
    judge(asking.catalog, patch, np.zeros((32, 32), np.uint8), minute=1)  # a glacier is there, the label says none

    def set_waiting(waits: bool) -> None:
        with asking.catalog.database.write() as session:
            row = session.get_one(Patch, patch.id)
            row.state = PatchState.PROPOSED if waits else PatchState.LABELLED

    set_waiting(waits_first)
    first = asking.answer()
    set_waiting(not waits_first)
    asking.work(first.json["id"])
    areas = {}
    for waits in (not waits_first, waits_first):
        set_waiting(waits)
        served = asking.answer()
        if served.status_code == 202:
            asking.work(served.json["id"])
            served = asking.answer()
        with ZipFile(io.BytesIO(served.data)) as archive:
            archive.extractall(tmp_path / str(waits))
        areas[waits] = shapely.area(layer(tmp_path / str(waits), "glaciers")[0]).sum()
    assert areas[False] < areas[True]  # the label, which takes ice away, counts once nobody is waited for


def test_a_job_of_an_earlier_release_still_makes_its_package(asking: Asking, tmp_path: Path) -> None:
    first = asking.answer()
    with asking.catalog.database.write() as session:
        job = session.get_one(Job, first.json["id"])
        job.subject = {**job.subject, "inventory": None}
    asking.package(tmp_path / "whole")


def test_what_glims_needs_and_nobody_knows_is_said_at_once(asking: Asking) -> None:
    with asking.catalog.database.write() as session:
        session.get_one(Scene, asking.scene.id).acquired = None
    assert_problem(asking.answer(), 409, "found no day of the image", "option acquired", "/data-sets")


def test_a_scene_is_predicted_first(asking: Asking) -> None:
    with asking.catalog.database.write() as session:
        registry_copy.store(session, [ModelVersion(2, "", now(), TAGS)])
        registry_copy.set_aliases(session, {"champion": 2})
    assert asking.answer().json["kind"] == "predict_scene"


def test_packages_that_nobody_takes_go_also_by_the_served_version(asking: Asking, tmp_path: Path) -> None:
    asking.package(tmp_path / "out")
    catalog = asking.catalog
    catalog.settings = catalog.settings.model_copy(update={"prediction_keep_days": 10.0})
    store = raster_store(catalog)
    (package,) = [key for key in store.all_keys() if "-glims-" in key]
    name = prediction_of(package)
    assert name is not None
    with catalog.database.write() as session:
        prediction_uses.note(session, name)
        session.get_one(PredictionUse, name).used_at = now() - timedelta(days=11)
    assert remove_unused(catalog, store.all_keys()) == [name]
    assert not store.exists(package)
    assert asking.answer().json["kind"] == JobKind.EXPORT_GLIMS
