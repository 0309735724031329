"""Canary comparisons of tiny networks, and what follows from an alert."""

import copy
import logging
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import select

from catalog import jobs, labels
from catalog.canary_records import CanaryComparison
from catalog.context import Catalog
from catalog.decision_records import Promotion, PromotionIntent
from catalog.errors import ConflictError
from catalog.logs import fields_of
from catalog.paging import Cut
from catalog.records import Job, JobKind, PatchState, RunState, RunTrigger, Scene, TrainingRun, now
from catalog.registry import ModelVersion
from catalog.webhook_records import OutgoingEvent
from cli import model_commands
from services import canary, promotion
from services.canary import change_of
from services.unusable_scenes import set_aside_scene
from tests.al_server.test_dashboard import load
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_round, as_role, label_of
from tests.workers.rows import champion, context_of, finish, patches, tiled
from workers.compare_served import compare, compare_served
from workers.jobs import JobContext
from workers.versions import LoadedVersion

SEED = 1  # of an untrained network that finds ice and other ground
COMPARISONS = "/api/v1/canary"


def flipped(version: LoadedVersion, number: int) -> LoadedVersion:
    """The same network with the logits of background and clean ice exchanged."""
    segmenter = copy.deepcopy(version.segmenter)
    with torch.no_grad():
        for parameter in segmenter.unet.head.parameters():
            parameter[[0, 1]] = parameter[[1, 0]]
    return LoadedVersion(ModelVersion(number, f"run-{number}", now(), {}), segmenter, version.card)


class Registry:
    """MLflow with two versions, whose aliases move."""

    url, model_name = "http://mlflow.test", "glacier"

    def __init__(self) -> None:
        self.moved = {"champion": 1, "learner": 1}

    def get(self, number: int) -> ModelVersion:
        return ModelVersion(number, f"run-{number}", now(), {})

    def aliases(self) -> dict[str, int]:
        return dict(self.moved)

    def move_alias(self, alias: str, number: int) -> None:
        self.moved[alias] = number


@pytest.fixture
def pool(catalog: Catalog, tmp_path: Any) -> Scene:
    """A scene of the pool with columns without data."""
    return tiled(catalog, tmp_path / "pool.tif", nodata_columns=20)[0]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setattr(promotion, "fault_of", lambda *_: None)
    return Registry()


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[int, LoadedVersion]:
    """Version 1; 2, which maps the same; and 3, which takes background for ice."""
    first = champion(1, seed=SEED)
    known = {1: first, 2: LoadedVersion(Registry().get(2), first.segmenter, first.card), 3: flipped(first, 3)}
    monkeypatch.setattr("workers.compare_served.load_version", lambda _, number: known[number])
    return known


def work(catalog: Catalog) -> list[CanaryComparison]:
    """Do the comparisons that wait; return all that are stored, oldest first."""
    with catalog.read() as session:
        waiting = session.scalars(select(Job).where(Job.kind == JobKind.COMPARE_SERVED, Job.state == "queued")).all()
    for job in waiting:
        with catalog.database.write() as session:
            claimed = jobs.claim(session, job.id)
        assert claimed is not None
        context = JobContext(catalog, claimed)
        compare_served(context, **job.subject)
        compare_served(context, **job.subject)  # as after a worker that died before it could say that it is done
        finish(context)
    with catalog.read() as session:
        return list(reversed(canary.comparisons(session, Cut(100))))


def test_a_table_of_pairs_tells_shares_and_areas() -> None:
    """Of 1000 pixels 900 keep their class; background loses 80 to ice, debris loses all of its 20."""
    change = change_of([[800, 80, 0], [0, 100, 0], [20, 0, 0]], ["background", "ice", "debris"])
    assert (change.pixels, change.changed_share) == (1000, pytest.approx(0.1))
    assert [(area.before_px, area.after_px) for area in change.areas] == [(880, 820), (100, 180), (20, 0)]
    assert [area.share for area in change.areas] == pytest.approx([-60 / 880, 80 / 180, -1])
    assert change.alerts(0.1, 0.5) == [
        "the area of debris went from 2.00% to 0.00% of the pixels, a change of -100% (limit 50%)"
    ]
    assert len(change.alerts(0.09, 0.4)) == 3


def test_a_class_of_a_few_pixels_raises_no_alert() -> None:
    assert change_of([[10_000, 9], [0, 0]], ["background", "ice"]).alerts(0.1, 0.5) == []
    assert change_of([[10_000, 11], [0, 0]], ["background", "ice"]).alerts(0.1, 0.5) != []


def test_a_version_that_maps_the_same_raises_no_alert(
    catalog: Catalog, pool: Scene, registry: Registry, versions: dict[int, LoadedVersion]
) -> None:
    promotion.apply_verdict(catalog, registry, 2, "better", None, promoted=True)  # type: ignore[arg-type]
    (found,) = work(catalog)
    change = change_of(found.counts, found.classes)
    assert (found.alerts, change.changed_share) == ([], 0)
    assert found.patches == len([patch for patch in patches(catalog, pool.id) if patch.valid_share > 0])
    # All known pixels of the pool, each once: those without data are left out.
    expected = sum(round(patch.valid_share * 32**2) for patch in patches(catalog, pool.id))
    assert change.pixels == expected < found.patches * 32**2
    with catalog.read() as session:
        assert [event.type for event in session.scalars(select(OutgoingEvent))] == ["model.promoted"]


def test_a_version_that_flips_classes_raises_an_alert_until_somebody_acknowledges_it(
    client: FlaskClient,
    catalog: Catalog,
    pool: Scene,
    registry: Registry,
    versions: dict[int, LoadedVersion],
    caplog: pytest.LogCaptureFixture,
) -> None:
    promotion.promote(catalog, registry, 3, "looks better", "ann")  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        (found,) = work(catalog)
    change = change_of(found.counts, found.classes)
    counts = np.array(found.counts)
    assert counts[1, 1] == counts[0, 2] == counts[2, 0] == 0
    assert change.changed_share == (counts[0, 1] + counts[1, 0]) / counts.sum() > 0.9  # the others are ties
    assert "maps" in caplog.text
    assert "glacier-al models rollback" in caplog.text
    with catalog.read() as session:
        promoted, told = session.scalars(select(OutgoingEvent).order_by(OutgoingEvent.id)).all()
    assert (promoted.type, told.type) == ("model.promoted", "model.canary_alert")
    assert (told.body["data"]["version"], told.body["data"]["previous_version"]) == (3, 1)
    assert told.body["data"]["alerts"] == found.alerts

    reader, operator = as_role(catalog, "reader"), as_role(catalog, "operator")
    (shown,) = client.get(f"{COMPARISONS}?standing=true", headers=reader).json
    assert (shown["version"], shown["changed_share"], shown["alerts"]) == (3, change.changed_share, found.alerts)
    assert found.alerts[0].replace("%", "") in load(client, catalog).text.replace("%", "")
    metrics = client.get("/metrics", headers=reader).get_data(as_text=True)
    assert "glacier_al_canary_alerts 1.0" in metrics
    assert f"glacier_al_canary_changed_share {change.changed_share}" in metrics

    address, note = f"{COMPARISONS}/{found.id}/acknowledge", {"note": "the first with debris"}
    assert_problem(client.post(address, json=note, headers=reader), 403, "operator")
    answer = client.post(address, json=note, headers=operator)
    assert (answer.status_code, answer.json["acknowledged_by"], answer.json["note"]) == (200, "operator", note["note"])
    assert_problem(client.post(address, json=note, headers=operator), 409, "acknowledged canary comparison 1 already")
    assert_problem(client.post(f"{COMPARISONS}/99/acknowledge", json=note, headers=operator), 404, "99")
    assert client.get(f"{COMPARISONS}?standing=true", headers=reader).json == []
    assert "Maps that changed" not in load(client, catalog).text
    assert "glacier_al_canary_alerts 0.0" in client.get("/metrics", headers=reader).get_data(as_text=True)


def test_a_roll_back_is_compared_too_and_the_alert_names_the_way_back(
    catalog: Catalog, pool: Scene, registry: Registry, versions: dict[int, LoadedVersion]
) -> None:
    promotion.promote(catalog, registry, 3, "looks better", "ann")  # type: ignore[arg-type]
    (there,) = work(catalog)
    with catalog.read() as session:
        command = canary.command_to_go_back(session, there.decision)
    assert command == 'glacier-al models rollback --from-version 3 --reason "..."'
    promotion.roll_back(catalog, registry, "it does not", "ann")  # type: ignore[arg-type]
    there, back = work(catalog)
    assert np.array_equal(np.array(there.counts).T, back.counts)
    assert (back.decision.verdict, back.decision.model_version) == ("rolled back", 1)
    assert len(back.alerts) == len(there.alerts)
    with catalog.read() as session:
        commands = [canary.command_to_go_back(session, item.decision) for item in (there, back)]
    assert commands == [f'glacier-al models promote {number} --reason "..."' for number in (1, 3)]


def test_an_alert_names_no_roll_back_once_another_version_is_served(
    catalog: Catalog,
    pool: Scene,
    registry: Registry,
    versions: dict[int, LoadedVersion],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Version 3 replaces 1, and 2 replaces 3 before the job runs: a roll-back would serve 3."""
    promotion.apply_verdict(catalog, registry, 3, "better", None, promoted=True)  # type: ignore[arg-type]
    promotion.apply_verdict(catalog, registry, 2, "better", None, promoted=True)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        first, _ = work(catalog)
    assert (first.decision.previous_version, first.decision.model_version) == (1, 3)
    assert "to go back: glacier-al models promote 1 " in caplog.text
    with catalog.read() as session:
        told = session.scalars(select(OutgoingEvent).where(OutgoingEvent.type == "model.canary_alert")).first()
    assert told is not None
    assert told.body["data"]["to_go_back"] == 'glacier-al models promote 1 --reason "..."'


def test_what_does_not_change_the_served_version_is_not_compared(catalog: Catalog, registry: Registry) -> None:
    promotion.apply_verdict(catalog, registry, 2, "worse", None, promoted=False)  # type: ignore[arg-type]
    promotion.set_back_learner(catalog, registry, 2, 1, "astray", "gate")  # type: ignore[arg-type]
    registry.moved = {}
    promotion.apply_verdict(catalog, registry, 1, "the first", None, promoted=True)  # type: ignore[arg-type]
    with catalog.read() as session:
        assert not jobs.is_open(session, JobKind.COMPARE_SERVED)
        assert session.scalars(select(PromotionIntent)).all() == []


def test_a_scene_that_opens_but_cannot_be_read_is_not_compared(
    catalog: Catalog, pool: Scene, registry: Registry, versions: dict[int, LoadedVersion]
) -> None:
    set_aside_scene(catalog, pool, "its pixels cannot be read", opens=True)
    promotion.apply_verdict(catalog, registry, 2, "better", None, promoted=True)  # type: ignore[arg-type]
    assert work(catalog) == []


def test_without_unlabelled_patches_there_is_nothing_to_compare(
    catalog: Catalog, pool: Scene, registry: Registry, versions: dict[int, LoadedVersion]
) -> None:
    with catalog.database.write() as session:
        for patch in patches(catalog, pool.id):
            session.merge(patch).state = PatchState.LABELLED
    promotion.promote(catalog, registry, 3, "looks better", "ann")  # type: ignore[arg-type]
    assert work(catalog) == []


def test_versions_of_other_classes_are_not_compared(catalog: Catalog, pool: Scene) -> None:
    with catalog.database.write() as session:
        session.add(Promotion(model_version=2, previous_version=1, verdict="moved", reason="seen", actor="somebody"))
    context = context_of(catalog, JobKind.COMPARE_SERVED, "1", decision_id=1)
    with pytest.raises(ConflictError, match="expected the same classes"):
        compare(context, 1, champion(1, head="binary"), champion(2))


def test_a_command_lists_comparisons_and_acknowledges_alerts(
    catalog: Catalog,
    pool: Scene,
    registry: Registry,
    versions: dict[int, LoadedVersion],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr(model_commands, "installed_catalog", lambda: nullcontext(catalog))
    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(model_commands.models, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    promotion.promote(catalog, registry, 3, "looks better", "ann")  # type: ignore[arg-type]
    work(catalog)
    assert "of the pixels have another class" in run("canary", "--standing")
    assert "is acknowledged" in run("acknowledge", "1", "--note", "more snow")
    assert "of the pixels" not in run("canary", "--standing")
    assert "of the pixels" in run("canary")


def test_a_decision_is_logged_with_the_labels_that_the_version_was_the_first_to_learn(
    catalog: Catalog, pool: Scene, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    with catalog.database.write() as session:
        chosen = [session.merge(patch) for patch in patches(catalog, pool.id)[:3]]
        _, proposals = add_round(session, chosen)
        stored = [label_of(session, item, number) for number, item in enumerate(proposals, 1)]
        for label in stored:
            labels.store(session, label)
        ids, uids = [label.id for label in stored], [proposal.uid for proposal in proposals]
        for number, learnt, state in ((1, ids[:1], "finished"), (None, ids[:2], "failed"), (2, ids, "open")):
            given = {"label_ids": learnt, "labels_sha256": "", "seed": 0, "model_version": number}
            session.add(TrainingRun(trigger=RunTrigger.LABELS, state=RunState(state), **given))
    with caplog.at_level(logging.INFO):
        promotion.promote(catalog, registry, 2, "looks better", "ann")  # type: ignore[arg-type]
    (line,) = [line for line in caplog.records if line.name == "services.promotion"]
    assert line.getMessage() == "version 2: promoted by ann: looks better"
    assert fields_of(line) == {"version": 2, "decision": 1, "run": 3, "labels": ids[1:], "proposals": uids[1:]}
