"""What a publication offers scene by scene; publishing itself is tested against a real Label Studio."""

import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy.orm import joinedload

from catalog import rounds, scorings
from catalog.pixel_regions import encode_region
from catalog.records import (
    Patch,
    PatchState,
    Proposal,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    RunState,
    RunTrigger,
    Scene,
    Score,
    Scoring,
    TrainingRun,
)
from catalog.rounds import Choice
from catalog.settings import Settings, Strategy
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.cog import class_map_to_cog
from imagery.geotiff import encode
from imagery.masks import mask_from_geotiff
from imagery.scene_reader import SceneReader
from services import raster_keys
from services.expected_edits import ERROR, FOREGROUND, encode_probability
from services.image_urls import image_urls
from services.patch_bands import read_bands
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.catalog_fixtures import PROJECT_ID, add_round
from tests.services.judging import judge
from tests.workers.rows import champion, patches, score_pool, tiled
from workers.publication import Publication, offer, why_undrawn
from workers.publish_round import _note_tasks


def publication(catalog) -> Publication:
    with catalog.read() as session:
        scoring = scorings.newest(session)
    return Publication(
        catalog, raster_store(catalog), image_urls(catalog), GLACIER_SCHEME, scoring, GLACIER_SCHEME.names
    )


def scored_and_unscored(catalog, tmp_path) -> tuple[Scene, Scene]:
    """A scene of the pool that the champion has scored, and one that was tiled afterwards."""
    early, _ = tiled(catalog, tmp_path / "early.tif")
    score_pool(catalog, champion())
    late, _ = tiled(catalog, tmp_path / "late.tif", offset_px=400)
    return early, late


def proposed(catalog, scene: Scene, *, scoring_id: int | None = None, **changes) -> tuple[Round, Proposal]:
    """A round and its proposal of the seventh patch of a scene, as a publication reads them."""
    with catalog.database.write() as session:
        opened, (proposal,) = add_round(session, [session.get_one(Patch, patches(catalog, scene.id)[6].id)])
        if scoring_id is not None:
            opened.strategy, opened.measure, opened.scoring_id = "entropy_top10", "entropy_top10", scoring_id
        for name, value in changes.items():
            setattr(proposal, name, value)
        round_id, proposal_id = opened.id, proposal.id
    with catalog.read() as session:
        with_patch = joinedload(Proposal.patch).joinedload(Patch.scene)
        return (
            session.get_one(Round, round_id, options=[joinedload(Round.scoring)]),
            session.get_one(Proposal, proposal_id, options=[with_patch]),
        )


def test_a_scene_tiled_after_the_scoring_is_published_without_its_maps(catalog, tmp_path):
    early, late = scored_and_unscored(catalog, tmp_path)
    offered = publication(catalog)
    assert offered.scoring_of(early).id == 1
    assert offered.scoring_of(late) is None
    from_nothing = offer(offered, *proposed(catalog, late))
    assert (from_nothing.preannotated_by, from_nothing.expected_edits) == (None, None)


def test_before_the_first_scoring_nothing_is_offered(catalog, tmp_path):
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    offered = publication(catalog)
    assert offered.scoring_of(scene) is None
    assert offered.shown_version == "no model yet"


def test_a_binary_head_proposes_nothing_and_the_reason_says_why(catalog, tmp_path):
    scene, _ = scored_and_unscored(catalog, tmp_path)
    offered = publication(catalog)
    assert why_undrawn(offered) == ""
    binary = replace(offered, class_names=("background", "glacier"))
    assert why_undrawn(binary) == (
        "; no pre-annotation is drawn: model version 1 tells only glacier from background, not the classes to draw"
    )
    edits = offer(binary, *proposed(catalog, scene)).expected_edits
    assert edits.from_proposal_px is None
    assert 0 < edits.from_empty_px < edits.asked_px


def write_map(catalog, scene: Scene, classes: np.ndarray, error: float = 0.0635, foreground: float = 0.25) -> None:
    """Put maps in the place of those that the scoring wrote: classes, each wrong with the same probability."""
    store, grid = raster_store(catalog), source_of(scene).grid
    whole = np.zeros((100, 160), np.uint8)
    whole[32:64, 32:64] = classes  # the seventh patch
    store.put(raster_keys.scored(1, scene.id, "classes"), class_map_to_cog(whole, grid, GLACIER_SCHEME))
    for what, probability in ((ERROR, error), (FOREGROUND, foreground)):
        levels = encode_probability(np.full(whole.shape, probability))
        store.put(raster_keys.scored(1, scene.id, what), encode(levels, grid, nodata=UNKNOWN))


@pytest.fixture
def scene(catalog, tmp_path) -> Scene:
    scored, _ = tiled(catalog, tmp_path / "a.tif")
    score_pool(catalog, champion())
    return scored


def as_polygons(catalog) -> None:
    catalog.settings = Settings(**{**catalog.settings.model_dump(), "preannotation": "polygon"})


def test_too_many_polygons_become_masks_and_the_annotator_is_told(catalog, scene, monkeypatch, caplog):
    monkeypatch.setattr("labeling.predictions.MAX_PREDICTION_REGIONS", 4)
    as_polygons(catalog)
    classes = np.zeros((32, 32), np.uint8)
    for row in range(0, 32, 8):
        for column in range(0, 32, 8):
            classes[row : row + 4, column : column + 4] = 1
    write_map(catalog, scene, classes)
    of_round, proposal = proposed(catalog, scene)
    offered = offer(publication(catalog), of_round, proposal)
    assert [region["type"] for region in offered.prediction["result"]] == ["brushlabels"]
    assert offered.task["data"]["reason"].endswith(
        "; the pre-annotation is drawn with the brush: too many pieces for polygons"
    )
    assert "16 regions; at most 4" in caplog.text
    shown = mask_from_geotiff(raster_store(catalog).get(raster_keys.preannotation(proposal.uid, 1)), GLACIER_SCHEME)
    np.testing.assert_array_equal(shown, classes)


def test_of_masks_that_are_too_large_the_smallest_pieces_are_left_out(catalog, scene, monkeypatch):
    classes = np.zeros((32, 32), np.uint8)
    classes[0:4, 0:4] = 1  # 16 pixels
    classes[10:30, 10:30] = 2  # 400 pixels
    write_map(catalog, scene, classes)
    of_round, proposal = proposed(catalog, scene)
    whole = offer(publication(catalog), of_round, proposal)
    assert len(whole.prediction["result"]) == 2
    monkeypatch.setattr("labeling.predictions.MAX_PREDICTION_REGIONS", 1)
    offered = offer(publication(catalog), of_round, proposal)
    assert [region["value"]["brushlabels"] for region in offered.prediction["result"]] == [["debris-covered ice"]]
    assert offered.task["data"]["reason"].endswith("; the pre-annotation leaves out pieces of fewer than 32 pixels")
    assert offered.preannotated_by == 1
    shown = mask_from_geotiff(raster_store(catalog).get(raster_keys.preannotation(proposal.uid, 1)), GLACIER_SCHEME)
    assert shown[:4, :4].max() == 0
    assert (shown[10:30, 10:30] == 2).all()


def test_a_patch_that_cannot_be_pre_annotated_is_published_without(catalog, scene, monkeypatch):
    classes = np.full((32, 32), 1, np.uint8)
    write_map(catalog, scene, classes)
    of_round, proposal = proposed(catalog, scene)
    monkeypatch.setattr("labeling.predictions.MAX_PREDICTION_BYTES", 300)
    offered = offer(publication(catalog), of_round, proposal)
    assert (offered.prediction["result"], offered.preannotated_by) == ([], None)
    assert offered.task["data"]["reason"].endswith("; no pre-annotation is drawn: it has too many pieces")


@pytest.mark.parametrize("lost", ["classes", "entropy", "error"])
def test_a_map_that_cannot_be_read_is_left_out(catalog, scene, caplog, lost):
    write_map(catalog, scene, np.full((32, 32), 1, np.uint8))
    of_round, proposal = proposed(catalog, scene)
    key = raster_keys.scored(1, scene.id, lost)
    raster_store(catalog).put(key, b"not a GeoTIFF any more")
    with caplog.at_level(logging.WARNING):
        offered = offer(publication(catalog), of_round, proposal)
    assert offered.views.get("uncertainty") == (None if lost == "entropy" else "uncertainty-1")
    assert offered.preannotated_by == (1 if lost == "entropy" else None)
    assert (offered.expected_edits is None) == (lost != "entropy")
    assert "is shown without" in caplog.text


def test_a_proposal_that_costs_more_than_it_saves_is_not_drawn(catalog, scene):
    """Correcting 1024 pixels, each wrong with .0635, is 65 px of work; drawing those that are ice with .25, 256 px."""
    write_map(catalog, scene, np.full((32, 32), 1, np.uint8))
    of_round, proposal = proposed(catalog, scene)
    offered = offer(publication(catalog), of_round, proposal)
    assert offered.task["data"]["reason"].endswith("; about 65 pixels to correct")
    assert offered.preannotated_by == 1
    assert offered.expected_edits.model_dump() == {
        "model_version": 1,
        "screening": False,
        "asked_px": 1024,
        "from_empty_px": pytest.approx(256, rel=1e-9),
        "from_proposal_px": pytest.approx(65, rel=0.01),
    }
    write_map(catalog, scene, np.full((32, 32), 1, np.uint8), error=0.36)
    offered = offer(publication(catalog), of_round, proposal)
    assert offered.task["data"]["reason"].endswith("; starts empty: about 256 pixels to draw")
    assert (offered.preannotated_by, offered.prediction["result"]) == (None, [])


def test_of_a_part_only_its_proposal_is_drawn_and_its_edits_counted(catalog, scene):
    write_map(catalog, scene, np.full((32, 32), 1, np.uint8))
    left = np.zeros((32, 32), np.bool_)
    left[:, :8] = True
    of_round, proposal = proposed(catalog, scene, region=encode_region(left))
    offered = offer(publication(catalog), of_round, proposal)
    shown = mask_from_geotiff(raster_store(catalog).get(raster_keys.preannotation(proposal.uid, 1)), GLACIER_SCHEME)
    np.testing.assert_array_equal(shown == 1, left)
    assert offered.expected_edits.asked_px == 256
    assert offered.expected_edits.from_proposal_px == pytest.approx(16.25, rel=0.01)


def test_the_reason_of_a_waiting_task_is_renewed_with_what_is_shown(catalog, scene):
    """Chosen by version 1; version 2 has scored it since."""
    with catalog.database.write() as session:
        first = scorings.newest(session)
        patch_id = patches(catalog, scene.id)[6].id
        second = Scoring(model_version=2, passes=first.passes, seed=first.seed, completed_at=first.completed_at)
        session.add(second)
        session.flush()
        value = float(np.log(3)) / 10
        session.add(Score(scoring_id=second.id, patch_id=patch_id, measure="entropy_top10", value=value))
    half = float(np.log(3)) / 2
    of_round, proposal = proposed(
        catalog,
        scene,
        scoring_id=first.id,
        reason=ProposalReason.UNCERTAIN,
        score=half,
    )
    by_first = publication(catalog)
    then = replace(by_first, scoring=first)
    assert "model version 1 is unsure here" in offer(then, of_round, proposal).task["data"]["reason"]
    now_shown = replace(by_first, scoring=second)
    reason = offer(now_shown, of_round, proposal).task["data"]["reason"]
    assert "model version 2 is unsure here" in reason


def test_the_queue_is_ordered_by_what_a_label_is_worth_to_the_shown_version(catalog, scene):
    """Across rounds and reasons: leftovers of a random round do not come before patches that the model is unsure of."""
    patch_id = patches(catalog, scene.id)[6].id

    def priority(value: float, **changes) -> float:
        with catalog.database.write() as session:
            session.get_one(Score, (1, patch_id, "entropy_top10")).value = value
        return offer(publication(catalog), *proposed(catalog, scene, **changes)).task["data"]["priority"]

    highest = float(np.log(3))
    assert priority(highest, scoring_id=1, reason=ProposalReason.UNCERTAIN, score=highest) == pytest.approx(1)
    assert priority(highest / 4, reason=ProposalReason.RANDOM_START) == pytest.approx(0.25)
    assert priority(highest / 4, scoring_id=1, reason=ProposalReason.CONTROL) == pytest.approx(0.25)
    assert priority(0.01, reason=ProposalReason.SECOND_LOOK, score=0.6) == 0.6


def test_before_the_first_scoring_the_order_within_the_round_decides(catalog, tmp_path):
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    made, proposal = proposed(catalog, scene)
    made.size, proposal.rank = 4, 1
    assert offer(publication(catalog), made, proposal).task["data"]["priority"] == 0.75


def test_the_place_says_where_when_and_by_what(catalog, scene):
    scene.sensor, scene.acquired = "landsat-7-etm+", "2000-10-30T04:31:02Z"
    made, proposal = proposed(catalog, scene)
    proposal.patch.scene.sensor, proposal.patch.scene.acquired = scene.sensor, scene.acquired
    place = offer(publication(catalog), made, proposal).task["data"]["place"]
    where = rf"{scene.name}, [0-9.]+° [NS] [0-9.]+° [EW]"
    what = r"landsat-7-etm\+, 30 October 2000, 30 m per pixel"
    assert re.fullmatch(f"{where}, {what}, row 32, column 32", place)


def test_the_panel_offers_each_view_and_the_place_elsewhere(catalog, scene):
    made, proposal = proposed(catalog, scene)
    data = offer(publication(catalog), made, proposal).task["data"]
    for view in ("false-colour", "uncertainty-1", "surroundings"):
        assert f"/patches/{proposal.patch_id}/composites/{view}.png?signature=" in data["panel"]
    assert f"/map#scene={scene.id}&amp;layers=outlines&amp;at=" in data["panel"]
    assert 'href="https://www.openstreetmap.org/?mlat=' in data["panel"]
    assert f'<img src="{data["true_colour"]}"' in data["panel"]


@pytest.mark.parametrize("reason", [ProposalReason.SECOND_LABEL, ProposalReason.SECOND_LOOK])
def test_who_labels_a_second_time_starts_from_an_empty_mask(catalog, scene, reason):
    classes = np.zeros((32, 32), np.uint8)
    classes[0:16] = 1
    write_map(catalog, scene, classes, error=0.01, foreground=0.5)
    drawn = offer(publication(catalog), *proposed(catalog, scene, reason=ProposalReason.KNOWN_TRUTH))
    assert drawn.preannotated_by == 1  # a honeypot starts as any other patch
    blind = offer(publication(catalog), *proposed(catalog, scene, reason=reason))
    assert (blind.preannotated_by, blind.prediction["result"]) == (None, [])
    assert blind.expected_edits == drawn.expected_edits
    assert blind.task["data"]["reason"].endswith("; starts empty: about 514 pixels to draw")  # half, as a byte


def test_a_honeypot_of_which_a_network_has_learnt_a_label_starts_from_an_empty_mask(catalog, scene):
    classes = np.zeros((32, 32), np.uint8)
    classes[0:16] = 1
    write_map(catalog, scene, classes, error=0.01, foreground=0.5)
    learnt = judge(catalog, patches(catalog, scene.id)[6], classes, minute=1)
    for label_ids, drawn_by in (([learnt + 1], 1), ([learnt], None)):
        with catalog.database.write() as session:
            run = TrainingRun(trigger=RunTrigger.LABELS, label_ids=label_ids, labels_sha256="c" * 64, seed=1)
            run.state = RunState.FINISHED
            session.add(run)
        honeypot = offer(publication(catalog), *proposed(catalog, scene, reason=ProposalReason.KNOWN_TRUTH))
        assert honeypot.preannotated_by == drawn_by
    other = offer(publication(catalog), *proposed(catalog, scene, reason=ProposalReason.UNCERTAIN))
    assert other.preannotated_by == 1


def test_nothing_in_a_task_tells_a_honeypot_from_other_patches(catalog, scene, monkeypatch):
    monkeypatch.setattr("itsdangerous.TimestampSigner.get_timestamp", lambda _: 1_800_000_000)  # signed in one second
    told = []
    for reason, score in ((ProposalReason.UNCERTAIN, 0.5), (ProposalReason.KNOWN_TRUTH, 0.5)):
        made, proposal = proposed(catalog, scene, scoring_id=1, reason=reason, score=score)
        data = offer(publication(catalog), made, proposal).task["data"]
        told.append({name: value for name, value in data.items() if name not in {"proposal", "round"}})
        told[-1]["reason"] = told[-1]["reason"].replace(f"Round {made.id}:", "Round N:")
    assert told[0] == told[1]


def test_views_that_an_attempt_has_drawn_are_not_drawn_again(catalog, scene, monkeypatch):
    chosen = {"state": ProposalState.CHOSEN, "scoring_id": 1}
    opened, proposal = proposed(catalog, scene, **chosen)
    first = offer(publication(catalog), opened, proposal)
    drawn = []
    monkeypatch.setattr("workers.publication.draw_views", lambda *_, **__: drawn.append(1) or first.views)
    noted = {"views": first.views, "shown_version": "version 1"}
    again = proposed(catalog, scene, **chosen, **noted)
    assert offer(publication(catalog), *again).views == first.views
    assert drawn == []
    for changed in ({"shown_version": "version 0"}, {"state": ProposalState.PUBLISHED}, {"views": None}):
        offer(publication(catalog), *proposed(catalog, scene, **{**chosen, **noted, **changed}))
    assert len(drawn) == 3
    raster_store(catalog).delete(raster_keys.view(proposal.patch_id, next(iter(first.views.values()))))
    offer(publication(catalog), *again)
    assert len(drawn) == 4


def test_bands_are_stored_only_where_annotators_may_click(catalog, tmp_path):
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    made, proposal = proposed(catalog, scene)
    store, key = raster_store(catalog), raster_keys.bands(proposal.patch_id)
    offer(publication(catalog), made, proposal)
    assert not store.exists(key)
    catalog.settings = catalog.settings.model_copy(update={"interactive_clicks": True})
    offer(publication(catalog), made, proposal)
    with SceneReader(source_of(scene)) as reader:
        expected = reader.read(source_of(scene).band_names, window_of(proposal.patch))
    np.testing.assert_array_equal(read_bands(store, proposal.patch_id), expected)


def test_a_task_deleted_while_others_are_drawn_keeps_no_round_waiting(catalog, tmp_path):
    """Label Studio tells of the deletion before the task is noted: then nobody knows whose task it was."""
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    with catalog.write() as session:
        chosen = Round(strategy=Strategy.RANDOM, size=2, seed=0)
        session.add(chosen)
        session.flush()
        free = patches(catalog, scene.id)
        rounds.store_choices(
            session, chosen.id, [Choice(free[i].id, ProposalReason.RANDOM_START, None) for i in (6, 7)]
        )
        stays, deleted = session.query(Proposal).order_by(Proposal.rank)
    _note_tasks(publication(catalog), PROJECT_ID, [stays, deleted], {stays.uid: 70})
    with catalog.write() as session:
        rounds.mark_open(session, chosen.id)
        states = [item.state for item in session.query(Proposal).order_by(Proposal.rank)]
        assert states == [ProposalState.PUBLISHED, ProposalState.WITHDRAWN]
        assert session.get_one(Patch, deleted.patch_id).state is PatchState.UNLABELLED
        session.get_one(Proposal, stays.id).state = ProposalState.LABELLED
        rounds.complete_if_answered(session, chosen.id)
        assert session.get_one(Round, chosen.id).state is RoundState.COMPLETE
