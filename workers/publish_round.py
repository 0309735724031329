"""Job: put the proposals of a round before the annotators, with views, reasons and pre-annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, joinedload

from catalog import rounds, scorings
from catalog.context import Catalog
from catalog.records import Patch, Proposal, ProposalState, Round, RoundState, Scene, Scoring
from catalog.registry import ModelVersion, registry_of
from imagery.classes import CLASSES
from imagery.maps import read_map
from imagery.masks import mask_to_geotiff
from imagery.store import RasterStore
from labeling.client import LabelStudio
from labeling.predictions import build_prediction, score_of
from labeling.tasks import TaskData, to_task
from services import raster_keys
from services.image_urls import ImageUrls, image_urls
from services.label_studio import LABELS, connect, label_studio
from services.places import raster_store
from services.scenes import source_of, window_of
from services.strategies import reason_of
from services.version_figures import figures_of
from workers.jobs import Work
from workers.preannotation import clean, is_useful, regions
from workers.views import draw_views

UNTRAINED = "no model yet"  # the "model version" of tasks that no model has seen


@dataclass(frozen=True)
class Publication:
    """What all tasks of one publication share."""

    catalog: Catalog
    store: RasterStore
    urls: ImageUrls
    scoring: Scoring | None
    preannotating: ModelVersion | None
    classes: int = len(CLASSES)  # that the scoring version tells apart: a binary head knows two

    @property
    def shown_version(self) -> str:
        """The model version that Label Studio shows with the pre-annotations."""
        return f"version {self.scoring.model_version}" if self.scoring else UNTRAINED

    def scoring_of(self, scene: Scene) -> Scoring | None:
        """The scoring that a scene's maps are of; None if the scene was tiled after it and is not scored yet."""
        if self.scoring is None or not self.store.exists(raster_keys.scored(self.scoring.id, scene.id, "entropy")):
            return None
        return self.scoring

    def drawn_by(self, scene: Scene) -> int | None:
        """The model version that draws the pre-annotations of a scene; None if there are none."""
        return self.preannotating.version if self.preannotating and self.scoring_of(scene) else None


def publish_round(work: Work, round_id: int) -> None:
    """Create the Label Studio tasks of a round, each once however often this runs, and open the round.

    Raises:
        LabelStudioError: Label Studio does not answer.
        ServiceDownError: MLflow does not answer.
        PredictionError: a pre-annotation is not as Label Studio draws it (nothing of it is sent).
    """
    with work.catalog.read() as session:
        published = session.get_one(Round, round_id, options=[joinedload(Round.scoring)])
        proposals = _proposals(session, Proposal.round_id == round_id)
    if published.state is not RoundState.PUBLISHING:
        return
    studio = label_studio(work.catalog)
    project_id = connect(work.catalog, studio)
    publication = _prepare(work.catalog)
    _prepare_proposals(work, publication, proposals)
    tasks = [_task(publication, published, proposal) for proposal in proposals]
    work.progress(len(proposals), len(proposals), "creating tasks")  # also asks whether the job is still ours
    task_ids = studio.publish(project_id, tasks)
    with work.catalog.write() as session:
        for proposal in proposals:
            rounds.mark_published(session, proposal.id, project_id, task_ids[proposal.uid], publication.urls.base_url)
    _renew_waiting(publication, studio, project_id)
    studio.set_model_version(project_id, publication.shown_version)
    with work.catalog.write() as session:
        rounds.mark_open(session, round_id)


def _prepare_proposals(work: Work, publication: Publication, proposals: Sequence[Proposal]) -> None:
    """Draw the views of proposals and note what their annotators will see, before anything is published.

    An answer can come the moment a task exists; and a repeated publication must not note what an earlier one, perhaps
    by another model version, has shown already.
    """
    for done, proposal in enumerate(proposals):
        work.progress(done, len(proposals), "drawing views and pre-annotations")
        if proposal.shown_version is not None:
            continue
        scene = proposal.patch.scene
        views = draw_views(publication.store, scene, proposal.patch, publication.scoring_of(scene), publication.classes)
        with work.catalog.write() as session:
            row = session.get_one(Proposal, proposal.id)
            row.views, row.shown_version = views, publication.shown_version
            row.preannotated_by = publication.drawn_by(scene)
        proposal.views, proposal.shown_version, proposal.preannotated_by = views, row.shown_version, row.preannotated_by


def _proposals(session: Session, condition: ColumnElement[bool]) -> list[Proposal]:
    statement = select(Proposal).where(condition).options(joinedload(Proposal.patch).joinedload(Patch.scene))
    return list(session.scalars(statement.order_by(Proposal.rank)))


def _prepare(catalog: Catalog) -> Publication:
    with catalog.read() as session:
        scoring = scorings.newest(session)
    store, urls = raster_store(catalog), image_urls(catalog)
    if scoring is None:
        return Publication(catalog, store, urls, None, None)
    version = registry_of(catalog.settings).get(scoring.model_version)
    figures = figures_of(version)
    preannotating = version if catalog.settings.preannotation != "none" and is_useful(figures) else None
    return Publication(catalog, store, urls, scoring, preannotating, len(figures.class_names))


def _task(publication: Publication, of_round: Round, proposal: Proposal) -> dict[str, Any]:
    patch, scene = proposal.patch, proposal.patch.scene
    centre = source_of(scene).grid.footprint_wgs84(window_of(patch)).centroid
    data = TaskData(
        proposal=proposal.uid,
        patch_id=patch.id,
        patch=f"{scene.name} row {patch.row_off} column {patch.col_off}",
        round=of_round.id,
        reason=reason_of(proposal, of_round, publication.classes),
        place=f"{scene.name}, {centre.y:.4f}° N {centre.x:.4f}° E, row {patch.row_off}, column {patch.col_off}",
        priority=float(of_round.size - proposal.rank),
        **{field: publication.urls.url(patch.id, name) for field, name in (proposal.views or {}).items()},
    )
    return to_task(data, _prediction(publication, proposal, data.priority))


def _prediction(publication: Publication, proposal: Proposal, priority: float) -> dict[str, Any]:
    """Compose the pre-annotation; without a useful model it is empty and only gives the task its place in the queue."""
    window, scene = window_of(proposal.patch), proposal.patch.scene
    drawn = []
    version, scoring = publication.drawn_by(scene), publication.scoring
    if version is not None and scoring is not None:
        shown = clean(read_map(publication.store.uri(raster_keys.scored(scoring.id, scene.id, "classes")), window))
        drawn = list(regions(shown, publication.catalog.settings.preannotation))
        publication.store.put(
            raster_keys.preannotation(proposal.uid, version), mask_to_geotiff(shown, source_of(scene).grid, window)
        )
    return build_prediction(
        drawn,
        model_version=publication.shown_version,
        score=score_of(priority),
        height=window.height,
        width=window.width,
        labels=LABELS,
    )


def _renew_waiting(publication: Publication, studio: LabelStudio, project_id: int) -> None:
    """Give the tasks that wait with a prediction of an earlier version one of the newest, too.

    Label Studio serves only predictions of one version: without this they would lose theirs.
    """
    with publication.catalog.read() as session:
        waiting = _proposals(
            session,
            (Proposal.state == ProposalState.PUBLISHED)
            & (Proposal.project_id == project_id)
            & (Proposal.shown_version != publication.shown_version),
        )
        sizes: dict[int, int] = {item.id: item.size for item in session.scalars(select(Round))}
    present = studio.task_ids(project_id) if waiting else set()
    for proposal in waiting:
        if proposal.task_id not in present:  # deleted, as reconciliation will find out
            continue
        prediction = _prediction(publication, proposal, float(sizes[proposal.round_id] - proposal.rank))
        studio.add_prediction(proposal.task_id, prediction)
        with publication.catalog.write() as session:
            renewed = session.get_one(Proposal, proposal.id)
            renewed.shown_version = publication.shown_version
            renewed.preannotated_by = publication.drawn_by(proposal.patch.scene)
