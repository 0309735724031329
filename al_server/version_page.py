"""The page of a model version."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, get_args

from flask import Blueprint, Response, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session

from al_server.auth import has_role
from al_server.blindness import labels_shown
from al_server.context import current_catalog, current_parts
from al_server.decision_schemas import serialize_promotion
from al_server.page_frame import live_mark, render_page
from al_server.pictures import Picture, layer_picture, predicted, view_pictures
from al_server.reproduction_schemas import MOST_THREADS, ReproductionsAnswer, serialize_reproductions
from al_server.version_schemas import serialize_version
from catalog.access_records import Role
from catalog.bundle_cache import CARD
from catalog.decision_records import Promotion
from catalog.errors import NotFoundError
from catalog.jobs import OPEN
from catalog.records import Job, Label, Patch, Proposal, Scene, SceneState, TrainingRun
from catalog.registry import CHAMPION, ModelVersion
from catalog.training import MOST_PARAMETERS
from imagery.grid import Window
from services import raster_keys
from services.block_changes import BlockChange, block_changes, most_changed
from services.class_scheme import scheme_in_force
from services.map_layers import REFERENCE, LayerKind, MapLayer
from services.reliability import reliability_curves
from services.reproductions import OTHER, SAME, Precision, Tolerance, in_words
from services.scenes import source_of
from services.version_figures import figures_of
from services.version_saliency import DrawnBlock, channel_shares, drawn_blocks

page = Blueprint("version_page", __name__)

DECISIONS_SHOWN: Final = 20
_ZOOM: Final = 14  # of the map: some 5 km across on a screen


@dataclass(frozen=True)
class ShownBlock:
    """A block of a validation scene with its pictures.

    Attributes:
        change: What changed on it.
        scene: The scene.
        window: The block in pixels of the scene.
        at: Where its middle is on the map: longitude, latitude and zoom.
        ground: The picture that the maps are laid upon; None if it cannot be drawn at once.
        maps: The outlines, what the versions map there, and where it looked.
    """

    change: BlockChange
    scene: Scene
    window: Window
    at: str
    ground: Picture | None
    maps: list[Picture]


@page.get("/versions/<int:version>")
def show_version(version: int) -> Response:
    """Return the page of a version: figures, calibration, where it gained and lost, labels, decisions.

    Operators promote it and have it trained again there.
    """
    mark, catalog, models = live_mark(), current_catalog(), current_parts().models
    found = models.get(version)
    figures, card = figures_of(found), _card(found)
    compared = figures.champion_version or figures.parent_version
    changes = _changes(card, compared)
    pair = [version] if compared is None else [version, compared]
    with catalog.read() as session:
        run = session.scalar(select(TrainingRun).where(TrainingRun.model_version == version))
        ids = [] if run is None else run.label_ids
        about = Promotion.model_version == version
        decided = session.scalars(select(Promotion).where(about).order_by(Promotion.id.desc()).limit(DECISIONS_SHOWN))
        decisions = [serialize_promotion(decision) for decision in decided]
        scenes = _scenes(session, changes)
        learnt = _learnt(session, ids)
        classes = scheme_in_force(session, catalog.settings).classes[1:]
        trained_again = _trained_again(session, version)
        patch_of = _patches(session, [doubted.label for doubted in figures.doubted])
    mlflow, aliases = catalog.settings.mlflow_page, models.aliases()
    return render_page(
        "version.html",
        version=serialize_version(found, aliases),
        served_version=aliases.get(CHAMPION),
        figures=figures,
        card=card,
        curves=reliability_curves(card or {}),
        shares=channel_shares(card or {}),
        compared=compared,
        scenes=scenes,
        changes={scene.id: [change for change in changes if change.scene_id == scene.id] for scene in scenes},
        unmapped=[(scene, number) for scene in scenes for number in pair if number not in predicted(scene, [number])],
        shown_blocks=_shown_blocks(changes, scenes, pair, card),
        classes=classes,
        run=run,
        learnt=learnt,
        patch_of=patch_of,
        decisions=decisions,
        live=mark,
        **trained_again,
        mlflow_version=f"{mlflow}/#/models/{catalog.settings.registered_model}/versions/{version}",
    )


def _trained_again(session: Session, version: int) -> dict[str, Any]:
    """Return what the page shows of a version that was or is being trained again, and offers to operators."""
    again, may_ask = serialize_reproductions(session, version), has_role(Role.OPERATOR)
    is_open = again.job is not None and again.job.state in OPEN
    return {
        "again": again,
        "outcome": _outcome(version, again),
        "is_open": is_open,
        "stopping": again.job is not None and session.get_one(Job, again.job.id).cancel_requested,
        "may_ask": may_ask,
        "follows": may_ask or is_open,
        "most_threads": MOST_THREADS,
        "precisions": get_args(Precision),
        "same": SAME,
        "other": OTHER,
    }


def _outcome(version: int, again: ReproductionsAnswer) -> str | None:
    if again.last is None:
        return None
    report = again.last.report
    return in_words(version, report.outcome, Tolerance(**report.tolerance.model_dump()))


def _card(version: ModelVersion) -> dict[str, Any] | None:
    """Return the card of a version as JSON; None if it is not in the local cache: a page does not wait for MLflow."""
    held = current_parts().bundles.held(version, CARD)
    if held is None:
        return None
    card: dict[str, Any] = json.loads(held.read_bytes())
    return card


def _changes(card: Mapping[str, Any] | None, compared: int | None) -> list[BlockChange]:
    """Return where a version maps better or worse than another; nothing if the card of either is not at hand."""
    if card is None or compared is None:
        return []
    try:
        other = _card(current_parts().models.get(compared))
    except NotFoundError:  # it was deleted in MLflow
        return []
    return [] if other is None else block_changes(card, other)


def _scenes(session: Session, changes: Sequence[BlockChange]) -> list[Scene]:
    """Return the scenes of blocks that are still registered."""
    ids = {change.scene_id for change in changes}
    kept = (Scene.id.in_(ids), Scene.state == SceneState.READY)
    return list(session.scalars(select(Scene).where(*kept).order_by(Scene.id)))


def _shown_blocks(
    changes: Sequence[BlockChange], scenes: Sequence[Scene], versions: Sequence[int], card: Mapping[str, Any] | None
) -> dict[str, list[ShownBlock]]:
    """Return the blocks with the largest gains and the largest losses of the first version, which has the card."""
    by_id = {scene.id: scene for scene in scenes}
    layers = {scene.id: _layers(scene, versions) for scene in scenes}
    drawn = drawn_blocks(card or {})

    def show(change: BlockChange) -> ShownBlock:
        decided = drawn.get((change.scene_id, change.row, change.col))
        return _shown_block(change, by_id[change.scene_id], layers[change.scene_id], versions[0], decided)

    gained, lost = most_changed(change for change in changes if change.scene_id in by_id)
    return {"gained": list(map(show, gained)), "lost": list(map(show, lost))}


def _layers(scene: Scene, versions: Sequence[int]) -> list[MapLayer]:
    outlines = MapLayer(REFERENCE, "Outlines", LayerKind.CLASSES, raster_keys.truth(scene.id))
    has_outlines = current_parts().store.exists(outlines.key)
    return ([outlines] if has_outlines else []) + list(predicted(scene, versions).values())


def _shown_block(
    change: BlockChange, scene: Scene, layers: Sequence[MapLayer], version: int, decided: DrawnBlock | None
) -> ShownBlock:
    grid = source_of(scene).grid
    window = change.window(grid)
    ground = view_pictures(scene, window, ["false-colour"])
    maps = [layer_picture(scene, layer, window) for layer in layers]
    if decided is not None:
        address = url_for("saliency.block_saliency", version=version, block=decided.number)
        seen = f"Where it looked, {100 * decided.inside:.0f} % of it in here"
        maps.append(Picture(seen, "", address))
    lon, lat = grid.centre_wgs84(window)
    return ShownBlock(change, scene, window, f"{lon:.5f},{lat:.5f},{_ZOOM}", ground[0] if ground else None, maps)


def _learnt(session: Session, ids: Sequence[int]) -> list[tuple[int | None, list[tuple[int, bool]]]]:
    """Return by round the patches whose labels a version learnt from, as far as the caller may know.

    Each has its id and whether its scene was removed. Corrections on the map have no round.
    """
    found: set[tuple[int | None, int, bool]] = set()
    for start in range(0, len(ids), MOST_PARAMETERS):
        some = Label.id.in_(ids[start : start + MOST_PARAMETERS])
        of_round = select(Proposal.round_id, Label.patch_id, Scene.state).join(Label, Label.proposal_id == Proposal.id)
        shown = of_round.join(Patch, Label.patch_id == Patch.id).join(Scene, Patch.scene_id == Scene.id)
        rows = session.execute(shown.where(some, labels_shown()))
        found |= {(number, patch, state is SceneState.REMOVED) for number, patch, state in rows}
    ordered = sorted(found, key=lambda row: (row[0] is None, row[0] or 0, row[1]))
    return [(number, [row[1:] for row in rows]) for number, rows in groupby(ordered, key=lambda row: row[0])]


def _patches(session: Session, labels: Sequence[int]) -> dict[int, int]:
    """Return the patch of each of these labels, as far as the caller may know; none of scenes that were removed."""
    of_labels = select(Label.id, Label.patch_id).join(Patch, Label.patch_id == Patch.id).join(Scene)
    shown = of_labels.where(Label.id.in_(labels), labels_shown(), Scene.state != SceneState.REMOVED)
    return {row[0]: row[1] for row in session.execute(shown)}
