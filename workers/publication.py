"""What the annotator of a proposal sees: views, reason, priority and pre-annotation, composed into a task."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from catalog import scorings
from catalog.context import Catalog
from catalog.records import Proposal, Round, Scene, Score, Scoring
from catalog.registry import ModelVersion, registry_of
from imagery.classes import ClassScheme
from imagery.coordinates import format_place
from imagery.errors import SceneError
from imagery.maps import read_map
from imagery.masks import mask_to_geotiff
from imagery.store import RasterStore
from labeling.predictions import build_prediction, score_of
from labeling.tasks import TaskData, to_task
from services import raster_keys
from services.class_scheme import class_scheme
from services.image_urls import ImageUrls, image_urls
from services.places import raster_store
from services.scenes import source_of, window_of
from services.strategies import Evidence, reason_of
from services.version_figures import figures_of
from workers.preannotation import Preannotation, drawable, is_useful, preannotate
from workers.views import draw_views

log = logging.getLogger(__name__)

UNTRAINED = "no model yet"  # the "model version" of tasks that no model has seen


@dataclass(frozen=True)
class Publication:
    """What all tasks of one publication share.

    Attributes:
        catalog: Settings and rows.
        store: Holds maps and views.
        urls: Makes addresses of views.
        scheme: The classes that annotators draw.
        scoring: The newest scoring; None before the first.
        preannotating: The version that draws pre-annotations; None if none is to be drawn.
        class_names: Names of the classes that the scoring version tells apart: a binary head tells two apart.
    """

    catalog: Catalog
    store: RasterStore
    urls: ImageUrls
    scheme: ClassScheme
    scoring: Scoring | None
    preannotating: ModelVersion | None
    class_names: Sequence[str]

    @property
    def shown_version(self) -> str:
        """The model version that Label Studio shows with the pre-annotations."""
        return f"version {self.scoring.model_version}" if self.scoring else UNTRAINED

    def scoring_of(self, scene: Scene) -> Scoring | None:
        """Return the scoring that has maps of a scene; None if the scene was tiled after it."""
        if self.scoring is None or not self.store.exists(raster_keys.scored(self.scoring.id, scene.id, "entropy")):
            return None
        return self.scoring

    def drawn_by(self, scene: Scene) -> int | None:
        """Return the model version that draws the pre-annotations of a scene; None if there are none."""
        return self.preannotating.version if self.preannotating and self.scoring_of(scene) else None


@dataclass(frozen=True)
class Offer:
    """A proposal as its annotator sees it.

    Attributes:
        views: Field of the task's data to name of the picture, see `workers.views.draw_views`.
        preannotated_by: The model version that drew the pre-annotation; None if there is none.
        task: The task for Label Studio, with one prediction.
    """

    views: dict[str, str]
    preannotated_by: int | None
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
        return Publication(catalog, store, urls, scheme, None, None, scheme.names)
    version = registry_of(catalog.settings).get(scoring.model_version)
    figures = figures_of(version)
    wanted = catalog.settings.preannotation != "none" and is_useful(figures)
    preannotating = version if wanted and drawable(figures.class_names, scheme) else None
    return Publication(catalog, store, urls, scheme, scoring, preannotating, figures.class_names)


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
    views = draw_views(publication.store, scene, patch, publication.scoring_of(scene), classes)
    priority = float(of_round.size - proposal.rank)
    window = window_of(patch)
    predict = partial(
        build_prediction,
        model_version=publication.shown_version,
        score=score_of(priority),
        height=window.height,
        width=window.width,
        labels=publication.scheme.labels,
    )
    drawn = Preannotation()
    version = publication.drawn_by(scene)
    if version is not None:
        drawn = _preannotation(publication, proposal, version, predict)
    centre = format_place(*source_of(scene).grid.centre_wgs84(window))
    data = TaskData(
        proposal=proposal.uid,
        patch_id=patch.id,
        patch=f"{scene.name} row {patch.row_off} column {patch.col_off}",
        round=of_round.id,
        reason=_reason(publication, proposal, of_round) + why_undrawn(publication) + drawn.note,
        place=f"{scene.name}, {centre}, row {patch.row_off}, column {patch.col_off}",
        priority=priority,
        **{field: publication.urls.url(patch.id, name) for field, name in views.items()},
    )
    return Offer(views, version if drawn.shown is not None else None, to_task(data, predict(drawn.regions)))


def _preannotation(
    publication: Publication, proposal: Proposal, version: int, predict: "partial[dict[str, Any]]"
) -> Preannotation:
    """Draw what a version sees in a patch, and store it as what the annotator is shown."""
    window, scene = window_of(proposal.patch), proposal.patch.scene
    scoring = publication.scoring_of(scene)
    if scoring is None:
        return Preannotation()
    try:
        classes = read_map(publication.store.uri(raster_keys.scored(scoring.id, scene.id, "classes")), window)
    except SceneError as error:
        log.warning("proposal %s is shown without pre-annotation: %s", proposal.uid, error)
        return Preannotation(note="; no pre-annotation is drawn: the model's map cannot be read")
    labels = drawable(publication.class_names, publication.scheme)
    drawn = preannotate(classes, publication.catalog.settings.preannotation, labels, predict)
    if drawn.note:
        log.warning("proposal %s%s", proposal.uid, drawn.note)
    if drawn.shown is not None:
        shown = mask_to_geotiff(drawn.shown, source_of(scene).grid, publication.scheme, window)
        publication.store.put(raster_keys.preannotation(proposal.uid, version), shown)
    return drawn


def _reason(publication: Publication, proposal: Proposal, of_round: Round) -> str:
    version = of_round.scoring.model_version if of_round.scoring is not None else None
    score, newest = proposal.score, _newest_score(publication, proposal, of_round)
    if newest is not None and publication.scoring is not None:
        version, score = publication.scoring.model_version, newest
    return reason_of(proposal.reason, of_round, Evidence(version, score, len(publication.class_names)))


def _newest_score(publication: Publication, proposal: Proposal, of_round: Round) -> float | None:
    """Return the patch's score by the version that is shown, which may be newer than the one that chose the patch."""
    if publication.scoring is None or publication.scoring.id == of_round.scoring_id:
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
