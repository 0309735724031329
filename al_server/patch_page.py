"""The page of a patch: where it lies, what it looks like, and everything that happened to it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask import Blueprint, Response
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from al_server.annotator_names import annotator_of
from al_server.auth import has_role
from al_server.blindness import are_labels_withheld, may_see_truth
from al_server.context import current_catalog, current_parts
from al_server.page_frame import render_page
from al_server.pictures import Picture, layer_picture, predicted, view_pictures
from catalog.access_records import Role
from catalog.errors import NotFoundError
from catalog.records import Label, Patch, Proposal, Round, SceneRole, SceneState, Score, Scoring
from catalog.reference_records import Reference
from catalog.rounds import UNANSWERED, with_controls
from catalog.withdrawal_records import Withdrawal, WithdrawnLabel
from imagery.coordinates import format_place
from imagery.ground_metric import pixel_size_m
from services import raster_keys
from services.class_scheme import scheme_in_force
from services.compared_labels import is_standing
from services.corrections import LARGEST_SIDE
from services.effort import expected_px
from services.map_layers import existing, other_layers
from services.patch_views import field_of, titles_of
from services.scenes import source_of, window_of
from services.strategies import Evidence, reason_of

page = Blueprint("patch_page", __name__)

VERSIONS_SHOWN: Final = 20
"""Number of newest versions whose maps are shown."""
_ZOOM: Final = 13  # of the map: some 10 km across on a screen


@dataclass(frozen=True)
class ShownProposal:
    """A proposal of the patch.

    Attributes:
        row: The proposal.
        why: Why the patch was proposed, as the caller may know.
        secret: The reason that annotators are not told; empty for everybody but operators, and if there is none.
        score: The score that it was chosen by; None without one, and for everybody but operators: second labels may
            have none where controls have one.
        expected_px: Edits that were expected; None if they were not estimated.
    """

    row: Proposal
    why: str
    secret: str
    score: float | None
    expected_px: float | None


@dataclass(frozen=True)
class ShownScores:
    """The scores of the patch by one scoring: by measure."""

    scoring: Scoring
    screening: bool
    values: dict[str, float]


@page.get("/patches/<int:patch_id>")
def show_patch(patch_id: int) -> Response:
    """Return the page of a patch: views, maps, state, scores, why it was proposed, its labels over time.

    While a patch waits for its annotator, nobody but operators is shown its labels and earlier proposals, nor whether
    there are any.
    """
    catalog = current_catalog()
    with catalog.read() as session:
        patch = _find_patch(session, patch_id)
        scene, window = patch.scene, window_of(patch)
        scheme = scheme_in_force(session, catalog.settings)
        withheld = are_labels_withheld(patch)
        proposals = _proposals(session, patch)
        if withheld:
            proposals = [proposal for proposal in proposals if proposal.state in UNANSWERED]
        labels = {} if withheld else _labels(session, patch)
        scores = _scores(session, patch)
        withdrawn = _withdrawn(session, labels)
        layers = other_layers(session, scene, truth=may_see_truth(session, scene))
        accepted = session.get(Reference, patch.id) if has_role(Role.OPERATOR) else None
        truth_stands = accepted is not None and is_standing(accepted)
        controlled = with_controls(session, {item.round_id for item in proposals if item.round_id is not None})
        shown = [_shown(proposal, proposal.round_id in controlled) for proposal in proposals]
    source = source_of(scene)
    lon, lat = source.grid.centre_wgs84(window)
    views = _stored_views(patch, proposals) or view_pictures(scene, window)
    versions = [version.version for version in current_parts().models.versions(VERSIONS_SHOWN + 1)]
    newest = versions[:VERSIONS_SHOWN]
    by_version = predicted(scene, newest)
    maps = [*existing(current_parts().store, layers), *by_version.values()]
    return render_page(
        "patch.html",
        patch=patch,
        scene=scene,
        place=format_place(lon, lat),
        at=f"{lon:.5f},{lat:.5f},{_ZOOM}",
        lon=lon,
        lat=lat,
        side_m=patch.size_px * max(pixel_size_m(source.grid)),
        views=views,
        ground=next(iter(view_pictures(scene, window, ["true-colour"])), None),
        maps=[layer_picture(scene, layer, window) for layer in maps],
        unmapped=[version for version in newest if version not in by_version],
        newest_of=VERSIONS_SHOWN if len(versions) > VERSIONS_SHOWN else None,
        legend_classes=scheme.classes[1:],
        scores=scores,
        measures=sorted({measure for row in scores for measure in row.values}),
        proposals=shown,
        labels=[(label, annotator_of(label)) for label in labels.values()],
        withdrawn=withdrawn,
        truth=accepted.label_id if accepted is not None else None,
        truth_stands=truth_stands,
        may_accept=has_role(Role.OPERATOR) and (scene.role, scene.state) == (SceneRole.POOL, SceneState.READY),
        may_correct=has_role(Role.ANNOTATOR)
        and (scene.role, scene.state) == (SceneRole.POOL, SceneState.READY)
        and patch.size_px <= LARGEST_SIDE,
        withheld=withheld,
        studio=catalog.settings.label_studio_page,
    )


def _find_patch(session: Session, patch_id: int) -> Patch:
    patch = session.get(Patch, patch_id, options=[joinedload(Patch.scene)])
    if patch is None or patch.scene.state is SceneState.REMOVED:
        raise NotFoundError(f"there is no patch {patch_id}")
    return patch


def _proposals(session: Session, patch: Patch) -> list[Proposal]:
    """Return the proposals of a patch, the newest first, each with its round and scoring."""
    loaded = select(Proposal).options(joinedload(Proposal.round).joinedload(Round.scoring))
    return list(session.scalars(loaded.where(Proposal.patch_id == patch.id).order_by(Proposal.id.desc())))


def _labels(session: Session, patch: Patch) -> dict[int, Label]:
    """Return the labels of a patch by id, the newest first, superseded ones included."""
    loaded = select(Label).options(joinedload(Label.proposal)).where(Label.patch_id == patch.id)
    return {label.id: label for label in session.scalars(loaded.order_by(Label.event_id.desc()))}


def _withdrawn(session: Session, label_ids: Collection[int]) -> dict[int, datetime]:
    """Return when each of these labels was withdrawn, by id; those that were not are left out."""
    moments = select(WithdrawnLabel.label_id, Withdrawal.withdrawn_at).join(WithdrawnLabel.withdrawal)
    return {row[0]: row[1] for row in session.execute(moments.where(WithdrawnLabel.label_id.in_(label_ids)))}


def _scores(session: Session, patch: Patch) -> list[ShownScores]:
    """Return the scores of a patch by the scorings that are kept, the newest first."""
    of_patch = select(Score, Scoring).join(Scoring, Score.scoring_id == Scoring.id).where(Score.patch_id == patch.id)
    found: dict[int, ShownScores] = {}
    for score, scoring in session.execute(of_patch.order_by(Scoring.id.desc(), Score.measure)):
        row = found.setdefault(scoring.id, ShownScores(scoring, score.screening, {}))
        row.values[score.measure] = score.value
    return list(found.values())


def _shown(proposal: Proposal, controls: bool) -> ShownProposal:
    of_round = proposal.round
    expected = expected_px(proposal.expected_edits, proposal.preannotated_by)
    if of_round is None:
        return ShownProposal(proposal, "A person corrected the map here of their own accord.", "", None, expected)
    version = of_round.scoring.model_version if of_round.scoring is not None else None
    why = reason_of(proposal.reason, of_round, Evidence(version, proposal.score), controls=controls)
    if not has_role(Role.OPERATOR):
        return ShownProposal(proposal, why, "", None, expected)
    return ShownProposal(proposal, why, proposal.reason.value, proposal.score, expected)


def _stored_views(patch: Patch, proposals: list[Proposal]) -> list[Picture]:
    """Return the views that the annotator of the newest proposal saw, as far as they are stored."""
    urls, store = current_parts().image_urls, current_parts().store
    stored = next((proposal.views for proposal in proposals if proposal.views), {})
    named = [
        (about, stored[field_of(name)])
        for name, about in titles_of(source_of(patch.scene)).items()
        if field_of(name) in stored
    ]
    return [
        Picture(title, hint, urls.path(patch.id, name))
        for (title, hint), name in named
        if store.exists(raster_keys.view(patch.id, name))
    ]
