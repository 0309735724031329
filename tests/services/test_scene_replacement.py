"""Replacing scenes: labels are kept only where their pixels stay, and never lost unasked."""

from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from catalog import failures, jobs, labels
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import (
    Job,
    JobKind,
    JobState,
    Label,
    Patch,
    RunState,
    RunTrigger,
    Scene,
    SceneRole,
    SceneState,
    Score,
    TrainingRun,
)
from imagery.grid import Grid
from imagery.scene_source import BandSource, SceneSource
from services.registration import store_scene
from services.scene_removal import remove_scene
from services.scene_replacement import LabelFate, replace_scene
from services.scenes import registered_scenes, scene_by_name, source_of
from tests.catalog_fixtures import add_round, add_scene, add_scoring, label_of
from tests.imagery.forge import NORTH_UP, UTM_45N


def _described(name: str = "pool", *, width: int = 160, offset_px: int = 0, **changes: object) -> Scene:
    """A description of the scene of `add_scene` with other files, not stored."""
    a, b, c, d, e, f = NORTH_UP
    grid = Grid(UTM_45N, (a, b, c + a * offset_px, d, e, f), width=width, height=100)
    source = SceneSource(
        (BandSource("red", "/scenes/reflectance.tif", 1, scale=2.75e-5, offset=-0.2),), grid, (0, 0), None
    )
    values = {
        "name": name,
        "role": SceneRole.POOL,
        "source": source.to_json(),
        "footprint": grid.footprint_wgs84().__geo_interface__,
        "outlines": [{"path": "/outlines/new.gpkg", "layer": None, "class_name": "clean ice"}],
        "patch_size_px": 32,
        "patch_overlap_px": 0,
    }
    return Scene(**{**values, **changes})


def _labelled(catalog: Catalog) -> tuple[int, list[int]]:
    """A pool scene with two labels, one of them superseded, and a version that learnt from both; return ids."""
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        _, (first, second) = add_round(session, patches[:2])
        for annotation, proposal in enumerate((first, second), start=1):
            labels.store(session, label_of(session, proposal, annotation))
        labels.supersede(session, 15, 2)
        labels.refresh_states(session, second, skipped=True)
        ids = list(session.scalars(select(Label.id).order_by(Label.id)))
        session.add(
            TrainingRun(
                state=RunState.FINISHED,
                trigger=RunTrigger.MANUAL,
                label_ids=ids,
                labels_sha256="0" * 64,
                seed=0,
                model_version=3,
            )
        )
        add_scoring(session, 3, {patch.id: 0.5 for patch in patches})
        return scene.id, ids


def test_a_scene_without_labels_is_registered_anew(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        old, _ = add_scene(session)
        done = replace_scene(session, catalog.settings, old.id, _described(width=128), None, has_champion=True)
        assert (done.kept, done.superseded, done.learnt_from) == (0, 0, ())
        assert done.scene.id != old.id  # keys of files are made of numbers
        assert [scene.id for scene in registered_scenes(session)] == [done.scene.id]
        assert (done.job.kind, done.job.subject) == (JobKind.TILE_SCENE, {"scene_id": done.scene.id})
        assert scene_by_name(session, "pool").state is SceneState.REGISTERED


def test_the_fate_of_labels_must_be_named(catalog: Catalog) -> None:
    scene_id, _ = _labelled(catalog)
    with (
        pytest.raises(
            ConflictError, match=r"1 labels stand on scene 'pool' \(2 were drawn\); say what becomes of them"
        ),
        catalog.database.write() as session,
    ):
        replace_scene(session, catalog.settings, scene_id, _described(), None, has_champion=True)
    with catalog.read() as session:
        assert session.get_one(Scene, scene_id).state is SceneState.READY


def test_labels_are_kept_on_the_same_pixels(catalog: Catalog) -> None:
    scene_id, _ = _labelled(catalog)
    with catalog.database.write() as session:
        patch_ids = list(session.scalars(select(Patch.id).where(Patch.scene_id == scene_id)))
        done = replace_scene(session, catalog.settings, scene_id, _described(), LabelFate.KEEP, has_champion=True)
        assert (done.kept, done.superseded, done.learnt_from) == (1, 0, (3,))
        scene = session.get_one(Scene, scene_id)
        assert (done.scene.id, scene.name, scene.state) == (scene_id, "pool", SceneState.REGISTERED)
        assert scene.revision == 1  # what shows its pixels is made and sent anew, though its files keep their names
        assert source_of(scene).bands[0].path == "/scenes/reflectance.tif"
        assert scene.outlines[0]["path"] == "/outlines/new.gpkg"
        assert list(session.scalars(select(Patch.id).where(Patch.scene_id == scene_id))) == patch_ids
        assert session.scalar(select(func.count()).select_from(Score)) == 0  # of the pixels before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 128}, "found 128 x 100 pixels .* expected the grid they were drawn on, 160 x 100"),
        ({"patch_size_px": 64}, r"another patch_size_px 64 \(was 32\); discard them"),
        ({"role": SceneRole.TEST}, r"another role test \(was pool\)"),
    ],
)
def test_labels_cannot_be_kept_on_other_pixels(catalog: Catalog, changes: Any, message: str) -> None:
    scene_id, _ = _labelled(catalog)
    with pytest.raises(ConflictError, match=message), catalog.database.write() as session:
        replace_scene(session, catalog.settings, scene_id, _described(**changes), LabelFate.KEEP, has_champion=True)


def test_discarded_labels_are_superseded_and_their_versions_noted(catalog: Catalog) -> None:
    scene_id, label_ids = _labelled(catalog)
    with catalog.database.write() as session:
        done = replace_scene(
            session, catalog.settings, scene_id, _described(width=128), LabelFate.DISCARD, has_champion=True
        )
        assert (done.kept, done.superseded, done.learnt_from) == (0, 1, (3,))
    with catalog.read() as session:
        old = session.get_one(Scene, scene_id)
        assert (old.state, old.name) == (SceneState.REMOVED, f"pool (removed {scene_id})")
        assert old.error == f"replaced by scene {done.scene.id}; 1 labels were superseded; versions 3 learnt from them"
        found = session.scalars(select(Label).order_by(Label.id)).all()
        assert [label.id for label in found] == label_ids  # rows and masks stay
        assert all(label.superseded_at for label in found)


@pytest.mark.parametrize("fate", LabelFate)
def test_a_scene_that_a_fine_tune_learns_from_is_not_replaced(catalog: Catalog, fate: LabelFate) -> None:
    scene_id, _ = _labelled(catalog)
    with catalog.database.write() as session:
        learning = session.scalars(select(TrainingRun)).one()
        learning.state, learning.model_version = RunState.OPEN, None
    with pytest.raises(ConflictError, match="training run 1 learns from labels"), catalog.database.write() as session:
        replace_scene(session, catalog.settings, scene_id, _described(), fate, has_champion=True)


@pytest.mark.parametrize("fate", LabelFate)
def test_a_run_whose_version_is_registered_learns_no_more(catalog: Catalog, fate: LabelFate) -> None:
    scene_id, _ = _labelled(catalog)
    with catalog.database.write() as session:
        session.scalars(select(TrainingRun)).one().state = RunState.OPEN  # to be concluded
        done = replace_scene(session, catalog.settings, scene_id, _described(), fate, has_champion=True)
    assert done.learnt_from == (3,)


@pytest.mark.parametrize("fate", LabelFate)
def test_a_run_whose_job_is_cancelled_does_not_keep_its_scenes(catalog: Catalog, fate: LabelFate) -> None:
    scene_id, _ = _labelled(catalog)
    with catalog.database.write() as session:
        job = jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
        run = session.scalars(select(TrainingRun)).one()
        run.state, run.model_version = RunState.INTERRUPTED, None
    with catalog.database.write() as session:
        failures.cancel(session, job.id)
        done = replace_scene(session, catalog.settings, scene_id, _described(), fate, has_champion=True)
        assert done.learnt_from == ()


def test_a_scene_that_a_round_asks_about_keeps_its_labels_or_its_state(catalog: Catalog) -> None:
    scene_id, _ = _labelled(catalog)
    with catalog.database.write() as session:
        patch = session.scalars(select(Patch).where(Patch.scene_id == scene_id).offset(5).limit(1)).one()
        opened, _ = add_round(session, [patch], first_task=50)
    with pytest.raises(ConflictError, match=f"round {opened.id} asks"), catalog.database.write() as session:
        replace_scene(session, catalog.settings, scene_id, _described(), LabelFate.DISCARD, has_champion=True)
    with catalog.read() as session:
        assert all(label.superseded_at is None for label in session.scalars(select(Label).where(Label.id == 1)))
    with catalog.database.write() as session:
        replace_scene(session, catalog.settings, scene_id, _described(), LabelFate.KEEP, has_champion=True)


@pytest.mark.parametrize("fate", LabelFate)
def test_work_on_the_scene_is_finished_first(catalog: Catalog, fate: LabelFate) -> None:
    scene_id, _ = _labelled(catalog)
    with catalog.database.write() as session:
        job = jobs.enqueue(session, JobKind.PREDICT_SCENE, str(scene_id), scene_id=scene_id)
        jobs.claim(session, job.id)
    with pytest.raises(ConflictError, match="works on scene 'pool'"), catalog.database.write() as session:
        replace_scene(session, catalog.settings, scene_id, _described(), fate, has_champion=True)
    with catalog.database.write() as session:
        jobs.hand_back(session, job.id, 1)
        replace_scene(session, catalog.settings, scene_id, _described(), fate, has_champion=True)
        assert session.get_one(Job, job.id).state is JobState.CANCELLED


@pytest.mark.parametrize("fate", LabelFate)
def test_a_replacement_that_shares_ground_with_another_role_changes_nothing(catalog: Catalog, fate: LabelFate) -> None:
    scene_id, _ = _labelled(catalog)
    with catalog.database.write() as session:
        add_scene(session, "judge", SceneRole.VALIDATION, width=64)  # on the same ground, as if by an earlier fault
    with pytest.raises(ConflictError, match="shares ground with 'judge'"), catalog.database.write() as session:
        replace_scene(session, catalog.settings, scene_id, _described(), fate, has_champion=True)
    with catalog.read() as session:
        scene = session.get_one(Scene, scene_id)
        assert (scene.name, scene.state) == ("pool", SceneState.READY)
        assert session.scalar(select(func.count()).select_from(Label).where(Label.superseded_at.is_(None))) == 1


GROUND = r"'pool \(removed 1\)' \(x 478000 to 482800, y 3105140 to 3108140 in EPSG:32645\)"
"""The ground of the scene of `add_scene`: 160 x 100 pixels of 30 m from the corner of `NORTH_UP`."""


def _judge(catalog: Catalog) -> None:
    """Register a scene to judge by on the ground of the scene of `add_scene`."""
    with catalog.database.write() as session:
        store_scene(session, catalog.settings, _described("judge", role=SceneRole.VALIDATION), has_champion=True)


def test_ground_of_labels_that_a_version_learnt_does_not_become_ground_to_judge_by(catalog: Catalog) -> None:
    scene_id, _ = _labelled(catalog)
    judge = _described(role=SceneRole.VALIDATION)
    with pytest.raises(ConflictError, match=GROUND), catalog.database.write() as session:
        replace_scene(session, catalog.settings, scene_id, judge, LabelFate.DISCARD, has_champion=True)
    with catalog.database.write() as session:
        elsewhere = _described(offset_px=1000)
        replace_scene(session, catalog.settings, scene_id, elsewhere, LabelFate.DISCARD, has_champion=True)
    with pytest.raises(ConflictError, match=GROUND):
        _judge(catalog)
    with catalog.database.write() as session:
        store_scene(session, catalog.settings, _described("again"), has_champion=True)


def test_ground_of_labels_that_no_version_learnt_may_become_ground_to_judge_by(catalog: Catalog) -> None:
    scene_id, _ = _labelled(catalog)
    judge = _described(role=SceneRole.VALIDATION)
    with catalog.database.write() as session:
        run = session.scalars(select(TrainingRun)).one()
        run.state, run.model_version = RunState.FAILED, None
        done = replace_scene(session, catalog.settings, scene_id, judge, LabelFate.DISCARD, has_champion=True)
        assert (done.scene.role, done.learnt_from) == (SceneRole.VALIDATION, ())


@pytest.mark.parametrize("priors", [True, False])
@pytest.mark.parametrize("minutes", [1, -1], ids=["begun since", "begun before"])
def test_ground_of_prior_outlines_that_a_version_learnt_does_not_become_ground_to_judge_by(
    catalog: Catalog, minutes: int, priors: bool
) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
        scene.prior_outlines = {"layers": []} if priors else None
        run = TrainingRun(trigger=RunTrigger.PRIORS, label_ids=[], labels_sha256="0" * 64, seed=0, model_version=1)
        run.created_at = scene.registered_at + timedelta(minutes=minutes)
        run.state, run.finished_at = RunState.FINISHED, scene.registered_at + timedelta(minutes=2)
        session.add(run)
        session.flush()
        remove_scene(session, scene.id)
    learnt = priors and minutes > 0  # a run reads the outlines when it begins
    with pytest.raises(ConflictError, match=GROUND) if learnt else nullcontext():
        _judge(catalog)


def test_ground_of_prior_outlines_of_a_scene_that_was_never_used_may_become_ground_to_judge_by(
    catalog: Catalog,
) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session, state=SceneState.REJECTED)
        scene.prior_outlines = {"layers": []}
        run = TrainingRun(trigger=RunTrigger.PRIORS, label_ids=[], labels_sha256="0" * 64, seed=0, model_version=1)
        run.created_at = scene.registered_at + timedelta(minutes=1)
        session.add(run)
    _judge(catalog)
