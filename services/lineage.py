"""The lineage of a model version: its line of parents, what each was trained on and how, and why each label exists.

A map names its version (the header ``X-Model-Version``, the name of its file). `trace` is a pure function of rows and
model cards; `read_lineage` fetches these.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from catalog.bundle_cache import CARD, BundleCache
from catalog.context import Catalog
from catalog.errors import CatalogError, NotFoundError, ServiceDownError
from catalog.records import Label, Patch, PatchState, Proposal, Round, TrainingRun
from catalog.registry_copy import RegistryCopy
from catalog.rounds import with_controls
from catalog.training import MOST_PARAMETERS
from catalog.withdrawal_records import WithdrawnLabel
from services.strategies import disguised
from services.version_figures import figures_of
from services.withdrawals import AffectedBy, withdrawals_of_versions

Name = Callable[[Label], str]
"""Returns the name by which the annotator of a label is shown."""


class Cause(BaseModel):
    """Why a patch was proposed to the annotator who drew a label, or that a person corrected it on the map."""

    round: int | None = Field(description="null: a person corrected the map of their own accord")
    strategy: str | None
    round_seed: int | None
    part: str | None = Field(description="what of the patch was asked for")
    reason: str = Field(
        description="for all but operators, second labels and honeypots have that of another patch of the round"
    )
    rank: int
    score: float | None = Field(
        description="of the patch, by the round's measure; null for random choices, and for all but operators"
    )
    measure: str | None
    scored_by: int | None = Field(description="the version whose scores the round was chosen by; null: none")
    passes: int | None = Field(description="of Monte Carlo dropout")
    scoring_seed: int | None


class LearntLabel(BaseModel):
    """A label that a version of the line learnt from."""

    id: int
    scene: str
    patch: int
    row_off: int
    col_off: int
    size_px: int
    mask_sha256: str
    proposal: str = Field(description="the uid of the proposal that it answers")
    event: int = Field(description="the label event that it was drawn from")
    annotator: str = Field(description="the account for operators, a pseudonym for readers")
    simulated: bool
    annotated_at: datetime
    superseded_at: datetime | None = Field(description="when it was updated, deleted or withdrawn; null: it stands")
    withdrawal: int | None = Field(description="the withdrawal that took it; null: none")
    doubt: float | None = Field(
        description="if it stood out when a version of the line first learnt it: loss of the champion on it beyond the "
        "loss that the champion expected, nats a pixel; null: it did not stand out"
    )
    cause: Cause


class Training(BaseModel):
    """How one version of the line was trained."""

    version: int
    parent_version: int | None = Field(description="the version that it was trained from; null: a fresh network")
    champion_version: int | None = Field(description="the version that the gate compared it with; null: none")
    run: int | None = Field(description="the training run; null if this database does not know it")
    mlflow_run: str | None
    trigger: str | None
    began_at: datetime | None
    seed: int | None
    label_ids: list[int]
    labels_sha256: str | None = Field(description="checksum of the ids and masks of its labels")
    settings: dict[str, Any] | None = Field(description="of the training, from the card; null without a card")
    environment: dict[str, Any] | None = Field(description="where it was trained; null in older cards")
    code_version: str | None
    priors: dict[str, Any] | None = Field(description="the prior outlines that it learnt from; null: none")
    weights_sha256: str | None
    affected_by: list[AffectedBy] = Field(description="withdrawals of labels that it learnt from")
    fault: str | None = Field(description="why something of the above is missing; null: nothing is")


class Lineage(BaseModel):
    """Where a version comes from."""

    version: int
    learnt_from_withdrawn_labels: bool
    trainings: list[Training] = Field(description="of the version, of its parent, and so on to the first")
    labels: list[LearntLabel] = Field(
        description="all that these learnt from, each once, ordered by id; for all but operators, without those of "
        "patches that wait for an annotator"
    )


Cards = Mapping[int, Mapping[str, Any] | str]
"""By version: its model card (`models.card.ModelCard` as JSON), or why it cannot be had."""


def trace(
    version: int,
    runs: Mapping[int, TrainingRun],
    cards: Cards,
    labels: Sequence[Label],
    withdrawn: Mapping[int, int],
    affected: Mapping[int, list[AffectedBy]],
    doubts: Mapping[int, float],
    name: Name,
    *,
    checks: bool = True,
    controlled: Collection[int] = (),
) -> Lineage:
    """Return the lineage of a version.

    Args:
        version: its number.
        runs: the training run of each version of its line that has one.
        cards: the card of each version of its line.
        labels: at least those of the line's runs, each with patch, scene, proposal, round and scoring loaded.
        withdrawn: the withdrawal of each withdrawn label, by their ids.
        affected: the withdrawals that affect each version.
        doubts: how much each label that stood out was doubted, by their ids.
        name: how annotators are shown.
        checks: whether it is told which labels were asked for as checks of their annotators; if not, those of patches
            that wait for an annotator are left out.
        controlled: the rounds of these labels that have controls, for callers who are not told.
    """
    trainings = [_training(number, runs.get(number), cards[number], affected) for number in line_of(version, runs)]
    learnt = {label_id for training in trainings for label_id in training.label_ids}
    return Lineage(
        version=version,
        learnt_from_withdrawn_labels=version in affected,
        trainings=trainings,
        labels=[
            _label(
                label,
                withdrawn.get(label.id),
                doubts.get(label.id),
                name,
                checks=checks,
                controls=label.proposal.round_id in controlled,
            )
            for label in labels
            if label.id in learnt and (checks or label.patch.state is not PatchState.PROPOSED)
        ],
    )


def line_of(version: int, runs: Mapping[int, TrainingRun]) -> list[int]:
    """Return a version, its parent, its parent's parent, and so on, as far as runs tell."""
    line = [version]
    while (run := runs.get(line[-1])) is not None and run.parent_version is not None:
        line.append(run.parent_version)
    return line


def read_lineage(
    catalog: Catalog, bundles: BundleCache, version: int, name: Name, *, checks: bool = True, fetch: bool = True
) -> Lineage:
    """Fetch what the lineage of a version rests on, and return it.

    Args:
        catalog: the catalog.
        bundles: has the cards.
        version: the version.
        name: how annotators are shown.
        checks: as `trace`.
        fetch: whether cards that are not in the local cache are fetched from MLflow; requests must not wait for that.

    Raises:
        NotFoundError: there is no such version.
    """
    models = RegistryCopy(catalog)
    with catalog.read() as session:
        of_versions = select(TrainingRun).where(TrainingRun.model_version.is_not(None))
        runs = {run.model_version: run for run in session.scalars(of_versions) if run.model_version is not None}
        if version not in runs:
            models.get(version)
        line = line_of(version, runs)
        labels = labels_with_causes(
            session, sorted({i for number in line if number in runs for i in runs[number].label_ids})
        )
        rows = session.execute(select(WithdrawnLabel.label_id, WithdrawnLabel.withdrawal_id))
        withdrawn = {row[0]: row[1] for row in rows}
        affected = withdrawals_of_versions(session)
        asked_in = {label.proposal.round_id for label in labels}
        controlled = set() if checks else with_controls(session, {item for item in asked_in if item is not None})
    cards: dict[int, Mapping[str, Any] | str] = {}
    for number in line:
        try:
            cards[number] = _card(models, bundles, number, fetch=fetch)
        except ServiceDownError as error:
            cards[number], fetch = str(error), False  # one wait is enough
    doubts = _doubts(models, line)
    return trace(version, runs, cards, labels, withdrawn, affected, doubts, name, checks=checks, controlled=controlled)


def _doubts(models: RegistryCopy, line: Sequence[int]) -> dict[int, float]:
    """Return how much each label was doubted that stood out when the oldest version of a line told of it learnt it."""
    found: dict[int, float] = {}
    for number in line:  # the newest first, so that the oldest has the last word
        try:
            told = figures_of(models.get(number)).doubted
        except NotFoundError:
            continue  # deleted in MLflow
        found |= {item.label: item.doubt for item in told}
    return found


def labels_with_causes(session: Session, ids: Sequence[int]) -> list[Label]:
    """Return labels ordered as their ids, each with patch, scene, proposal, round and scoring loaded."""
    proposal = joinedload(Label.proposal).joinedload(Proposal.round).joinedload(Round.scoring)
    loaded = select(Label).options(proposal, joinedload(Label.patch).joinedload(Patch.scene)).order_by(Label.id)
    slices = (ids[start : start + MOST_PARAMETERS] for start in range(0, len(ids), MOST_PARAMETERS))
    return [label for some in slices for label in session.scalars(loaded.where(Label.id.in_(some)))]


def _card(models: RegistryCopy, bundles: BundleCache, version: int, *, fetch: bool) -> Mapping[str, Any] | str:
    """Return the card of a version, or why it cannot be had; raise ServiceDownError if MLflow does not answer."""
    try:
        registered = models.get(version)
        path = bundles.file(registered, CARD) if fetch else bundles.held(registered, CARD)
    except NotFoundError:
        return f"version {version} or its card was deleted in MLflow"
    except ServiceDownError:
        raise
    except CatalogError as error:
        return str(error)
    if path is None:
        return f"the card of version {version} is not in the local cache; the clock fetches it, or logs why it cannot"
    card: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return card


def _training(
    version: int,
    run: TrainingRun | None,
    card: Mapping[str, Any] | str,
    affected: Mapping[int, list[AffectedBy]],
) -> Training:
    faults = [] if run is not None else [f"the database holds no training run of version {version}"]
    if isinstance(card, str):
        faults.append(card)
        card = {}
    labels: Mapping[str, Any] = card.get("labels") or {}
    training: Mapping[str, Any] = card.get("training") or {}
    return Training(
        version=version,
        parent_version=run.parent_version if run else card.get("parent_version"),
        champion_version=run.champion_version if run else card.get("champion_version"),
        run=run.id if run else None,
        mlflow_run=run.mlflow_run_id if run else None,
        trigger=run.trigger.value if run else None,
        began_at=run.created_at if run else None,
        seed=run.seed if run else training.get("seed"),
        label_ids=sorted(run.label_ids) if run else list(labels.get("ids", [])),
        labels_sha256=run.labels_sha256 if run else labels.get("sha256"),
        settings=dict(training) or None,
        environment=card.get("environment"),
        code_version=card.get("code_version"),
        priors=card.get("priors"),
        weights_sha256=card.get("weights_sha256"),
        affected_by=affected.get(version, []),
        fault="; ".join(faults) or None,
    )


def _label(
    label: Label, withdrawal: int | None, doubt: float | None, name: Name, *, checks: bool, controls: bool
) -> LearntLabel:
    patch, proposal = label.patch, label.proposal
    of_round, reason = proposal.round, proposal.reason
    scoring = of_round.scoring if of_round is not None else None
    if of_round is not None and not checks:
        reason = disguised(reason, of_round, scored=proposal.score is not None, controls=controls)
    return LearntLabel(
        id=label.id,
        scene=patch.scene.name,
        patch=patch.id,
        row_off=patch.row_off,
        col_off=patch.col_off,
        size_px=patch.size_px,
        mask_sha256=label.mask_sha256,
        proposal=proposal.uid,
        event=label.event_id,
        annotator=name(label),
        simulated=label.simulated,
        annotated_at=label.annotated_at,
        superseded_at=label.superseded_at,
        withdrawal=withdrawal,
        doubt=doubt,
        cause=Cause(
            round=of_round.id if of_round else None,
            strategy=of_round.strategy if of_round else None,
            round_seed=of_round.seed if of_round else None,
            part=of_round.part if of_round else None,
            reason=reason.value,
            rank=proposal.rank,
            score=proposal.score if checks else None,
            measure=of_round.measure if of_round else None,
            scored_by=scoring.model_version if scoring else None,
            passes=scoring.passes if scoring else None,
            scoring_seed=scoring.seed if scoring else None,
        ),
    )
