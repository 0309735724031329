"""Removing scenes: nothing that labels depend on goes, and what was refused takes nothing."""

import pytest
from sqlalchemy import func, inspect, select

from catalog import jobs, labels, scorings
from catalog.context import Catalog
from catalog.errors import ConflictError, NotFoundError
from catalog.records import Job, JobKind, JobState, Patch, Proposal, ProposalState, Scene, SceneState, Score
from catalog.settings import Strategy
from services import rounds
from services.scene_removal import remove_scene
from services.scenes import find_scene, registered_scenes, scene_by_name
from tests.catalog_fixtures import add_round, add_scene, add_scoring, label_of


def test_a_scene_goes_with_its_patches_and_scores_and_frees_its_name(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        kept, others = add_scene(session, "kept", offset_px=200)
        add_scoring(session, 1, {patch.id: 0.5 for patch in [*patches, *others]})
        remove_scene(session, scene.id)
    with catalog.database.write() as session:
        assert [item.id for item in registered_scenes(session)] == [kept.id]
        assert session.scalar(select(func.count(Patch.id)).where(Patch.scene_id == scene.id)) == 0
        assert set(session.scalars(select(Score.patch_id))) == {patch.id for patch in others}
        with pytest.raises(NotFoundError, match=f"no scene {scene.id}"):
            find_scene(session, scene.id)
        again, _ = add_scene(session)  # the same name and ground
        assert again.id not in {scene.id, kept.id}  # files in the store are named after numbers


def test_what_labels_depend_on_stays(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        _, (proposal,) = add_round(session, patches[:1])
        labels.store(session, label_of(session, proposal, 1))
        labels.supersede(session, 15, 1)  # withdrawn since, but a version may have learnt from it
        labels.refresh_states(session, proposal, skipped=True)
    with pytest.raises(ConflictError, match="labels were drawn on scene 'pool'"), catalog.database.write() as session:
        remove_scene(session, scene.id)


def test_what_annotators_are_asked_about_stays_until_the_round_is_abandoned(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        opened, (proposal,) = add_round(session, patches[:1])
    with pytest.raises(ConflictError, match=f"round {opened.id} asks"), catalog.database.write() as session:
        remove_scene(session, scene.id)
    with catalog.database.write() as session:
        rounds.abandon(session, opened.id)
        remove_scene(session, scene.id)
        assert session.get_one(Proposal, proposal.id).state is ProposalState.ABANDONED  # the round's history stays
        with pytest.raises(ConflictError, match="found no patch in the pool"):
            rounds.open_round(session, catalog.settings, Strategy.RANDOM, 1)


def test_queued_work_on_it_is_cancelled_and_running_work_finished_first(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session, state=SceneState.REGISTERED)
        job = jobs.enqueue(session, JobKind.TILE_SCENE, str(scene.id), scene_id=scene.id)
        jobs.claim(session, job.id)
    with pytest.raises(ConflictError, match="works on scene 'pool'"), catalog.database.write() as session:
        remove_scene(session, scene.id)
    with catalog.database.write() as session:
        jobs.hand_back(session, job.id, 1)
        remove_scene(session, scene.id)
        assert session.get_one(Job, job.id).state is JobState.CANCELLED


@pytest.mark.parametrize("place", ["earlier", "later"])
def test_a_scene_is_not_removed_while_it_is_compared_with_another(catalog: Catalog, place: str) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
        compared = {"earlier": scene.id + 1, "later": scene.id + 1, place: scene.id}
        job = jobs.enqueue(session, JobKind.COMPARE_SCENES, "a comparison", **compared)
        jobs.claim(session, job.id)
    with pytest.raises(ConflictError, match="works on scene 'pool'"), catalog.database.write() as session:
        remove_scene(session, scene.id)


def test_a_removed_scene_is_scored_no_more(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
        remove_scene(session, scene.id)
        assert scorings.enqueue_if_unscored(session, 1, catalog.settings) is None


def test_a_scene_is_found_by_its_name_while_it_is_there(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session, "khumbu")
        assert scene_by_name(session, "khumbu").id == scene.id
        remove_scene(session, scene.id)
        for name in ("khumbu", session.get_one(Scene, scene.id).name):
            with pytest.raises(NotFoundError, match="there is no scene named"):
                scene_by_name(session, name)


@pytest.mark.parametrize("table", ["scores", "labels", "proposals"])
def test_the_check_of_a_foreign_key_reads_an_index(catalog: Catalog, table: str) -> None:
    """Else removing a scene reads each of these tables once for each of its patches."""
    with catalog.read() as session:
        indexes = inspect(session.connection()).get_indexes(table)
    assert any(index["column_names"][0] == "patch_id" for index in indexes)
