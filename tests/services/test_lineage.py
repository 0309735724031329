"""The lineage of a version, from rows and cards that are made by hand."""

from typing import Any

from catalog import registry_copy
from catalog.context import Catalog
from catalog.records import Label, ProposalReason, RunState, RunTrigger, TrainingRun, now
from catalog.registry import ModelVersion, registry_of
from services.lineage import labels_with_causes, line_of, read_lineage, trace
from services.places import bundle_cache
from services.withdrawals import AffectedBy
from tests.catalog_fixtures import add_round, add_scene, add_scoring, label_of

CARD: dict[str, Any] = {
    "training": {"steps": 400, "seed": 5},
    "code_version": "0.1.0+abc",
    "weights_sha256": "a" * 64,
    "labels": {"ids": [1], "sha256": "b" * 64},
    "parent_version": None,
}


def run(version: int, parent: int | None, label_ids: list[int]) -> TrainingRun:
    """A finished run, as the database would return it."""
    return TrainingRun(
        id=10 + version,
        state=RunState.FINISHED,
        trigger=RunTrigger.LABELS,
        label_ids=label_ids,
        labels_sha256="c" * 64,
        seed=version,
        parent_version=parent,
        model_version=version,
        created_at=now(),
    )


def rows(catalog: Catalog) -> list[Label]:
    """Two labels; the second was chosen by a score."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, proposals = add_round(session, patches[:2])
        opened.scoring, opened.measure = add_scoring(session, 3, {patches[1].id: 0.75}), "entropy_top10"
        proposals[1].score, proposals[1].reason = 0.75, ProposalReason.UNCERTAIN
        session.add_all([label_of(session, proposal, number) for number, proposal in enumerate(proposals, start=1)])
    with catalog.read() as session:
        return labels_with_causes(session, [1, 2])


def test_a_line_ends_where_nothing_more_is_known():
    runs = {4: run(4, 3, []), 3: run(3, 1, [])}
    assert line_of(4, runs) == [4, 3, 1]
    assert line_of(7, runs) == [7]


def test_labels_of_the_whole_line_are_told_once_with_their_cause(catalog):
    labels = rows(catalog)
    affected = {4: [AffectedBy(withdrawal=2, withdrawn_at=now(), directly=True)]}
    found = trace(
        4,
        {4: run(4, 3, [2, 1]), 3: run(3, None, [1])},
        {4: CARD, 3: "version 3 or its card was deleted in MLflow"},
        labels,
        {2: 2},
        affected,
        {2: 0.75},
        lambda label: f"the annotator of {label.id}",
    )
    assert found.learnt_from_withdrawn_labels
    newest, oldest = found.trainings
    assert (newest.run, newest.seed, newest.label_ids, newest.code_version) == (14, 4, [1, 2], "0.1.0+abc")
    assert (newest.settings, newest.fault) == ({"steps": 400, "seed": 5}, None)
    assert newest.affected_by == affected[4]
    assert (oldest.settings, oldest.code_version) == (None, None)
    assert oldest.fault == "version 3 or its card was deleted in MLflow"
    assert [(label.id, label.annotator, label.withdrawal) for label in found.labels] == [
        (1, "the annotator of 1", None),
        (2, "the annotator of 2", 2),
    ]
    assert [label.doubt for label in found.labels] == [None, 0.75]
    assert [label.proposal for label in found.labels] == [label.proposal.uid for label in labels]
    cause = found.labels[1].cause
    assert (cause.reason, cause.score, cause.scored_by, cause.scoring_seed) == ("uncertain", 0.75, 3, 0)


def test_a_version_without_a_run_is_told_from_its_card():
    found = trace(1, {}, {1: CARD}, [], {}, {}, {}, str)
    (training,) = found.trainings
    assert (training.run, training.seed, training.label_ids) == (None, 5, [1])
    assert training.fault == "the database holds no training run of version 1"


def test_while_mlflow_is_down_rows_are_told_without_cards(catalog):
    with catalog.database.write() as session:
        session.add_all([run(1, None, []), run(2, 1, [])])
        registry_copy.store(session, [ModelVersion(number, "a-run", now(), {}) for number in (1, 2)])
    bundles = bundle_cache(catalog.settings, registry_of(catalog.settings))
    second, first = read_lineage(catalog, bundles, 2, str).trainings
    assert (second.seed, second.settings, first.seed) == (2, None, 1)
    assert "MLflow does not answer" in str(second.fault)
    assert "is not in the local cache" in str(first.fault)  # it was not asked twice
