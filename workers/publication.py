"""What the annotator of a proposal sees: views, reason, priority and pre-annotation, composed into a task."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import rounds, scorings
from catalog.context import Catalog
from catalog.pixel_regions import decode_region
from catalog.records import (
    Label,
    Patch,
    Proposal,
    ProposalReason,
    ProposalState,
    Round,
    Scene,
    Score,
    Scoring,
    TrainingRun,
)
from catalog.registry import registry_of
from imagery.classes import ClassScheme
from imagery.coordinates import format_place
from imagery.ground_metric import pixel_size_m
from imagery.masks import mask_to_geotiff
from imagery.store import RasterStore
from labeling.predictions import build_prediction, score_of
from labeling.tasks import TaskData, to_task
from services import raster_keys
from services.class_scheme import class_scheme
from services.expected_edits import ExpectedEdits
from services.image_urls import ImageUrls, image_urls
from services.places import raster_store
from services.prior_disagreement import PRIOR_DISAGREEMENT
from services.scenes import day_of, source_of, window_of
from services.score_table import ENTROPY
from services.strategies import Evidence, reason_of
from services.version_figures import figures_of
from workers.preannotation import drawable
from workers.proposed_mask import ProposedMask, ScoredPatch, propose_mask
from workers.task_pictures import picture_fields
from workers.views import OutlinedRegion, draw_views

BLIND = (ProposalReason.SECOND_LABEL, ProposalReason.SECOND_LOOK)
"""Reasons of proposals that start from an empty mask whatever it costs: a proposal would pull their annotators.

So do honeypots of which a network has learnt a label, since it may draw the truth (`_is_blind`).
"""
UNTRAINED = "no model yet"  # the version of tasks that no model has seen


@dataclass(frozen=True)
class Publication:
    """What all tasks of one publication share.

    Attributes:
        catalog: Settings and rows.
        store: Holds maps and views.
        urls: Makes addresses of views.
        scheme: The classes that annotators draw.
        scoring: The newest scoring; None before the first.
        class_names: Names of the classes that the scoring version tells apart: a binary head tells two apart.
    """

    catalog: Catalog
    store: RasterStore
    urls: ImageUrls
    scheme: ClassScheme
    scoring: Scoring | None
    class_names: Sequence[str]

    @property
    def shown_version(self) -> str:
        """The model version whose proposals and doubts annotators are shown, as it is noted with each proposal."""
        return f"version {self.scoring.model_version}" if self.scoring else UNTRAINED

    def scoring_of(self, scene: Scene) -> Scoring | None:
        """Return the scoring that has maps of a scene; None if the scene was tiled after it."""
        if self.scoring is None or not self.store.exists(raster_keys.scored(self.scoring.id, scene.id, "entropy")):
            return None
        return self.scoring


@dataclass(frozen=True)
class Offer:
    """A proposal as its annotator sees it.

    Attributes:
        views: Field of the task's data to name of the picture, see `workers.views.draw_views`.
        preannotated_by: The model version that drew the pre-annotation; None if there is none.
        expected_edits: How many pixels the annotator is expected to change; None if no version has scored the patch.
        task: The task for Label Studio, with one prediction.
    """

    views: dict[str, str]
    preannotated_by: int | None
    expected_edits: ExpectedEdits | None
    task: dict[str, Any]

    @property
    def prediction(self) -> dict[str, Any]:
        """The prediction alone."""
        prediction: dict[str, Any] = self.task["predictions"][0]
        return prediction


def begin_publication(catalog: Catalog) -> Publication:
    """Find out which model version annotators are shown.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    with catalog.read() as session:
        scoring = scorings.newest(session)
    store, urls, scheme = raster_store(catalog), image_urls(catalog), class_scheme(catalog)
    if scoring is None:
        return Publication(catalog, store, urls, scheme, None, scheme.names)
    figures = figures_of(registry_of(catalog.settings).get(scoring.model_version))
    return Publication(catalog, store, urls, scheme, scoring, figures.class_names)


def offer(publication: Publication, of_round: Round, proposal: Proposal) -> Offer:
    """Draw the views and the pre-annotation of a proposal, and compose its task.

    A pre-annotation that cannot be drawn or sent is left out, and the annotator is told: it must not keep the rest of
    the round from being published.

    Args:
        publication: what all tasks share.
        of_round: the round of the proposal, with its scoring.
        proposal: with its patch and scene.

    Raises:
        SceneError: the scene cannot be read.
    """
    patch, scene = proposal.patch, proposal.patch.scene
    classes = len(publication.class_names)
    window = window_of(patch)
    outlined = None
    if proposal.region is not None:
        outlined = OutlinedRegion(proposal.id, decode_region(proposal.region, *window.shape))
    views = _drawn_before(publication, proposal) or draw_views(
        publication.store,
        scene,
        patch,
        publication.scoring_of(scene),
        classes,
        outlined,
        clicks=publication.catalog.settings.interactive_clicks,
    )
    priority = _worth(publication, proposal, of_round)
    predict = partial(
        build_prediction,
        score=score_of(priority),
        height=window.height,
        width=window.width,
        labels=publication.scheme.labels,
    )
    proposed = _proposed_mask(publication, proposal, predict)
    data = TaskData(
        proposal=proposal.uid,
        patch_id=patch.id,
        patch=f"{scene.name} row {patch.row_off} column {patch.col_off}",
        round=of_round.id,
        reason=_reason(publication, proposal, of_round)
        + why_undrawn(publication)
        + proposed.note
        + _what_is_asked(outlined),
        place=_place(scene, patch),
        priority=priority,
        **picture_fields(publication.urls, scene, patch, views),
    )
    return Offer(views, proposed.drawn_by, proposed.edits, to_task(data, predict(proposed.regions)))


def _drawn_before(publication: Publication, proposal: Proposal) -> dict[str, str] | None:
    """Return the views that an attempt to publish a proposal has drawn before it ended; None if any is not there.

    Views take most of the time of a publication. Where attempts end before it is over, again and again, none of them
    would come further than the one before.
    """
    views, patch_id = proposal.views, proposal.patch_id
    if proposal.state is not ProposalState.CHOSEN or proposal.shown_version != publication.shown_version or not views:
        return None
    keys = [raster_keys.view(patch_id, name) for name in views.values()]
    if publication.catalog.settings.interactive_clicks:
        keys.append(raster_keys.bands(patch_id))
    return dict(views) if all(publication.store.exists(key) for key in keys) else None


def _proposed_mask(publication: Publication, proposal: Proposal, predict: "partial[dict[str, Any]]") -> ProposedMask:
    """Return the mask that the annotator starts from, and store it as what the annotator is shown."""
    scene = proposal.patch.scene
    scoring = publication.scoring_of(scene)
    if scoring is None:
        return ProposedMask()
    with publication.catalog.read() as session:
        screening = _is_screened(session, scoring.id, proposal.patch_id)
        blind = _is_blind(session, proposal)
    scored = ScoredPatch(publication.store, proposal, scoring, screening)
    labels = drawable(publication.class_names, publication.scheme)
    form = publication.catalog.settings.preannotation
    proposed = propose_mask(scored, form, labels, predict, blind=blind)
    if proposed.drawn_by is not None and proposed.shown is not None:
        shown = mask_to_geotiff(proposed.shown, source_of(scene).grid, publication.scheme, window_of(proposal.patch))
        publication.store.put(raster_keys.preannotation(proposal.uid, proposed.drawn_by), shown)
    return proposed


def _is_blind(session: Session, proposal: Proposal) -> bool:
    """Return whether a proposal starts from an empty mask, whatever that costs."""
    if proposal.reason is not ProposalReason.KNOWN_TRUTH:
        return proposal.reason in BLIND
    drawn = set(session.scalars(select(Label.id).where(Label.patch_id == proposal.patch_id)))
    return any(not drawn.isdisjoint(label_ids) for label_ids in session.scalars(select(TrainingRun.label_ids)))


def _what_is_asked(outlined: OutlinedRegion | None) -> str:
    return "" if outlined is None else f"; judge only the outlined part, {outlined.asked.mean():.0%} of the patch"


def _is_screened(session: Session, scoring_id: int, patch_id: int) -> bool:
    """Return whether a scoring has only screened a patch, by one deterministic pass."""
    scores = select(Score.screening).where(Score.scoring_id == scoring_id, Score.patch_id == patch_id)
    return bool(session.scalar(scores.limit(1)))


def _reason(publication: Publication, proposal: Proposal, of_round: Round) -> str:
    version = of_round.scoring.model_version if of_round.scoring is not None else None
    score, newest = proposal.score, _newest_score(publication, proposal, of_round)
    if newest is not None and publication.scoring is not None:
        version, score = publication.scoring.model_version, newest
    with publication.catalog.read() as session:
        controls = bool(rounds.with_controls(session, [of_round.id]))
    return reason_of(proposal.reason, of_round, Evidence(version, score), controls=controls)


def _place(scene: Scene, patch: Patch) -> str:
    """Say where a patch lies, and what took the picture when."""
    grid, day = source_of(scene).grid, day_of(scene)
    across, down = pixel_size_m(grid)
    known = [
        scene.name,
        format_place(*grid.centre_wgs84(window_of(patch))),
        scene.sensor,
        f"{day.day} {day:%B %Y}" if day is not None else None,
        f"{math.sqrt(across * down):.3g} m per pixel",
        f"row {patch.row_off}, column {patch.col_off}",
    ]
    return ", ".join(part for part in known if part)


def _worth(publication: Publication, proposal: Proposal, of_round: Round) -> float:
    """Return how much a label is worth, 0 to 1, comparable between the tasks of all rounds that show one version.

    The uncertainty that the shown version has of the patch, as a share of the highest possible, whatever the patch was
    chosen by: second labels, known truths and controls are not to be told by their place in the queue. Patches that
    contradict old outlines or an earlier label count by the share of their pixels that do, for there the model is sure.
    Without such a score, as before the first version, the order within the round decides.
    """
    by_rank = (of_round.size - proposal.rank) / of_round.size
    if proposal.reason is ProposalReason.SECOND_LOOK:
        return by_rank if proposal.score is None else proposal.score
    if publication.scoring is None:
        return by_rank
    measure = of_round.measure if of_round.measure == PRIOR_DISAGREEMENT else ENTROPY
    with publication.catalog.read() as session:
        score = _score(session, publication.scoring.id, proposal.patch_id, measure)
    if score is None:
        return by_rank
    return score if measure == PRIOR_DISAGREEMENT else score / math.log(len(publication.class_names))


def _newest_score(publication: Publication, proposal: Proposal, of_round: Round) -> float | None:
    """Return the patch's score by the version that is shown, which may be newer than the one that chose the patch.

    None for a patch without such a score: what was drawn at random stays so.
    """
    if publication.scoring is None or publication.scoring.id == of_round.scoring_id:
        return None
    if proposal.score is None or proposal.reason is ProposalReason.SECOND_LOOK:
        return None
    with publication.catalog.read() as session:
        return _score(session, publication.scoring.id, proposal.patch_id, of_round.measure)


def _score(session: Session, scoring_id: int, patch_id: int, measure: str | None) -> float | None:
    found = session.get(Score, (scoring_id, patch_id, measure)) if measure is not None else None
    return found.value if found is not None else None


def why_undrawn(publication: Publication) -> str:
    """Say why a model that could draw a pre-annotation does not: it cannot tell the classes apart."""
    if publication.scoring is None or drawable(publication.class_names, publication.scheme):
        return ""
    return (
        f"; no pre-annotation is drawn: model version {publication.scoring.model_version} tells only "
        f"{' from '.join(reversed(publication.class_names))}, not the classes to draw"
    )
