"""Job: make damaged and missing files again, and take back what was set aside and is whole again.

It also deletes the bands of patches that nobody may click on any more, which are large, predictions that nobody has
used for long (`services.unused_predictions`), GeoTIFFs whose prediction was given up, files that were sent for a scene
and that none came to use (`services.scene_uploads`), checkpoints of trainings that have ended, files of data sets that
were removed, and what killed processes wrote by half.

The clock enqueues it when the store has found a damaged file, when something is set aside, and at every reconciliation.
"""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from catalog import jobs, scorings, set_aside, training
from catalog.bundle_cache import FILES, CorruptBundleError
from catalog.context import Catalog
from catalog.errors import NotFoundError, ServiceDownError
from catalog.pixel_regions import decode_region
from catalog.records import JobKind, Label, Patch, Proposal, ProposalState, Scene, SceneState, Scoring, Shard
from catalog.registry import registry_of
from catalog.set_aside import Kind
from imagery.errors import OutlineError, SceneError, StoreError, UnreadableFileError
from services import raster_keys
from services.data_sets import remove_drafts
from services.made_files import left_files
from services.patch_bands import unneeded_bands
from services.places import bundle_cache, raster_store
from services.scene_uploads import remove_abandoned
from services.scenes import window_of
from services.sent_uploads import abandoned_uploads, is_awaited
from services.stored_files import expected_files, left_checkpoints
from services.unusable_scenes import set_aside_scenes, take_back
from services.unused_predictions import remove_unused
from workers.jobs import JobContext
from workers.label_repair import make_whole
from workers.publication import begin_publication
from workers.scene_masks import usable_scenes
from workers.views import OutlinedRegion, draw_views

log = logging.getLogger(__name__)

_WRITTEN_WITHIN_S: Final = 3600.0  # the largest map of a scene takes minutes
_SCORED: Final = re.compile(r"scorings/(\d+)/(?:scene-(\d+)/)?")
_SCENE: Final = re.compile(r"scenes/(\d+)/")
_VIEW: Final = re.compile(r"views/patch-(\d+)/")


def mend_files(context: JobContext) -> None:
    """Make again what is damaged or missing; set aside by name what cannot be made, and end what is back."""
    mend(context.catalog, context.progress)


def mend(catalog: Catalog, report: Callable[[int, int, str], object]) -> None:
    """Do what the job does; `report` is told what is done, of how many, and what it is."""
    store, clicks = raster_store(catalog), catalog.settings.interactive_clicks
    with catalog.read() as session:
        expected = [file.key for file in expected_files(session, clicks=clicks)]
        known = [row.name for row in set_aside.standing(session, Kind.FILE)]
    present = set(store.all_keys())  # not `exists`, which would read every file
    lacking = {key: "it is missing" for key in expected if key not in present}
    lacking |= dict.fromkeys(store.damaged(), "its content was not what had been stored")
    for key in known:
        if key not in lacking:
            _end(catalog, key, "nobody needs it any more" if key not in expected else "it is whole again")
    for done, (key, reason) in enumerate(sorted(lacking.items())):
        report(done, len(lacking), f"making {key} again")
        with catalog.write() as session:
            set_aside.set_aside(session, Kind.FILE, key, f"{key}: {reason}")
        outcome = _make_again(catalog, key)
        if outcome is None:
            log.error("%s cannot be made again: %s", key, reason)
        else:
            log.warning("%s: %s; %s", key, reason, outcome)
            store.forget_damaged(key)
            _end(catalog, key, outcome)
    _look_at_labels(catalog)
    for name in take_back(catalog):
        log.warning("scene %s is back", name)
    with catalog.write() as session:
        training.enqueue_if_due(session, catalog.settings)
    _check_served(catalog)
    for clean_up in (_remove_unneeded, _remove_unused, _remove_abandoned, _remove_half_written, _remove_drafts):
        try:
            clean_up(catalog, present)
        except (OSError, StoreError) as error:  # another process was faster, or the disk is full or read-only
            log.warning("cleaning up goes on another time: %s", error)


def _remove_unneeded(catalog: Catalog, present: set[str]) -> None:
    store = raster_store(catalog)
    with catalog.read() as session:
        unneeded = [
            *unneeded_bands(session, present),
            *abandoned_uploads(session, store, present),
            *left_checkpoints(session, present),
            *left_files(session, present),
        ]
    for key in unneeded:
        try:
            store.delete(key)
        except (OSError, StoreError) as error:  # as above; the others go all the same
            log.warning("%s stays until another time: %s", key, error)


def _remove_unused(catalog: Catalog, present: set[str]) -> None:
    for prediction in remove_unused(catalog, present):
        log.info("removed %s, which nobody has used for a long time", prediction)


def _remove_abandoned(catalog: Catalog, _: set[str]) -> None:
    for folder in remove_abandoned(catalog):
        log.info("removed the folder %s, which was sent for a scene that nobody has registered", folder)


def _remove_half_written(catalog: Catalog, _: set[str]) -> None:
    for path in raster_store(catalog).remove_half_written(_WRITTEN_WITHIN_S):
        log.warning("removed %s, which a process that ended had written by half", path)


def _remove_drafts(catalog: Catalog, _: set[str]) -> None:
    for folder in remove_drafts(catalog):
        log.warning("removed %s, in which a job that was killed put a data set together", folder)


def _end(catalog: Catalog, key: str, outcome: str) -> None:
    with catalog.write() as session:
        row = set_aside.find(session, Kind.FILE, key)
        if row is not None:
            set_aside.end(row, outcome)


def _make_again(catalog: Catalog, key: str) -> str | None:
    """Make a file again, or have it made; return what was done, None if that is not possible at present."""
    makers: Mapping[str, Callable[[Catalog, str], str | None]] = {
        "labels": _label,
        "scenes": _mask,
        "scorings": _scored,
        raster_keys.VIEWS: _view,
        "predictions": lambda catalog, key: "it is computed again at the next request",
        "training": lambda catalog, key: "the training begins anew without this checkpoint",
        "preannotations": _preannotation,
        raster_keys.DATA_SETS: _data_set,
        raster_keys.UPLOADS: _upload,
    }
    maker = makers.get(key.partition("/")[0])
    try:
        return None if maker is None else maker(catalog, key)
    except UnreadableFileError as error:
        set_aside_scenes(catalog, error)
    except ServiceDownError as error:
        log.warning("%s is made again when MLflow answers: %s", key, error)
    return None


def _label(catalog: Catalog, key: str) -> str | None:
    with catalog.read() as session:
        label = session.scalar(select(Label).where(Label.mask_key == key))
    if label is None or label.superseded_at is not None:
        return "nobody needs it any more"
    return "it was drawn again from the ledger" if make_whole(catalog, label) else None


def _mask(catalog: Catalog, key: str) -> str | None:
    match = _SCENE.match(key)
    with catalog.read() as session:
        scene = session.get(Scene, int(match[1])) if match else None
    if scene is None or scene.state is not SceneState.READY:
        return "nobody needs it any more"
    usable_scenes(catalog, [scene])
    return "it was burned again from the outlines" if raster_store(catalog).exists(key) else None


def _scored(catalog: Catalog, key: str) -> str | None:
    """Have a scene scored again, or the whole pool if the file is about all of it, by the version that scores now."""
    match = _SCORED.match(key)
    with catalog.read() as session:
        scoring = session.get(Scoring, int(match[1])) if match else None
    if match is None or scoring is None or scoring.removed_at is not None:
        return "nobody needs it any more"
    version = registry_of(catalog.settings).scoring(catalog.settings.scoring_version)
    if version is None or version.version != scoring.model_version:
        return None
    with catalog.read() as session:
        of_scoring = select(Shard.scene_id).where(Shard.scoring_id == scoring.id).distinct()
        scene_ids = [int(match[2])] if match[2] else session.scalars(of_scoring).all()
    for scene_id in scene_ids:  # before a job can begin to write there
        raster_store(catalog).delete_folder(raster_keys.scored_scene(scoring.id, scene_id))
    with catalog.write() as session:
        if not match[2]:
            session.get_one(Scoring, scoring.id).completed_at = None  # the scoring before it ranks until all is done
        for scene_id in scene_ids:
            scorings.forget_scene(session, scoring.id, scene_id)
        jobs.enqueue(session, JobKind.SCORE_POOL)
    return "it is computed again by a job"


def _view(catalog: Catalog, key: str) -> str | None:
    """Draw the views of a patch again for the proposals that wait."""
    match = _VIEW.match(key)
    waiting = select(Proposal).where(Proposal.state == ProposalState.PUBLISHED)
    with catalog.read() as session:
        loaded = waiting.where(Proposal.patch_id == (int(match[1]) if match else None))
        proposals = session.scalars(loaded.options(joinedload(Proposal.patch).joinedload(Patch.scene))).all()
    wanted = [item for item in proposals if key in _view_keys(item)]
    if not wanted:
        return "nobody needs it any more"
    publication, store = begin_publication(catalog), raster_store(catalog)
    for proposal in wanted:
        patch, scene, outlined = proposal.patch, proposal.patch.scene, None
        if proposal.region is not None:
            asked = decode_region(proposal.region, *window_of(patch).shape)
            outlined = OutlinedRegion(proposal.id, asked)
        try:
            scoring, clicks = publication.scoring_of(scene), catalog.settings.interactive_clicks
            draw_views(store, scene, patch, scoring, len(publication.class_names), outlined, clicks=clicks)
        except UnreadableFileError:
            raise
        except (SceneError, StoreError) as error:
            log.warning("the views of patch %d could not be drawn again: %s", patch.id, error)
    return "it was drawn again" if store.exists(key) else None


def _view_keys(proposal: Proposal) -> list[str]:
    """Return the keys of what `workers.views.draw_views` stores for a proposal."""
    views = [raster_keys.view(proposal.patch_id, name) for name in (proposal.views or {}).values()]
    return [*views, raster_keys.bands(proposal.patch_id)]


def _preannotation(catalog: Catalog, key: str) -> str | None:
    """Tell whether somebody still needs the mask that an annotator was shown; only a new publication makes another."""
    uid = key.split("/")[1]
    with catalog.read() as session:
        proposal = session.scalar(select(Proposal).where(Proposal.uid == uid))
    is_waiting = proposal is not None and proposal.state is ProposalState.PUBLISHED
    return None if is_waiting else "nobody needs it any more"


def _data_set(catalog: Catalog, key: str) -> str | None:
    """Tell whether a data set still stands; another one would hold the labels of another day."""
    with catalog.read() as session:
        return "nobody needs it any more" if left_files(session, [key]) else None


def _upload(catalog: Catalog, key: str) -> str | None:
    """Tell whether a job still waits for a file that was sent; it fails, since only its sender has another copy."""
    with catalog.read() as session:
        return None if is_awaited(session, key) else "its job has ended; who needs the file has to send it again"


def _look_at_labels(catalog: Catalog) -> None:
    """Try again to have the masks of labels that are set aside."""
    with catalog.read() as session:
        rows = set_aside.standing(session, Kind.LABEL)
        labels = {row.name: session.get(Label, row.number) for row in rows}
    for name, label in labels.items():
        is_needed = label is not None and label.superseded_at is None
        try:
            is_back = label is not None and is_needed and make_whole(catalog, label)
        except (SceneError, OutlineError) as error:
            log.warning("%s stays set aside: %s", name, error)
            is_back = False
        if is_back or not is_needed:
            with catalog.write() as session:
                row = set_aside.find(session, Kind.LABEL, name)
                if row is not None:
                    set_aside.end(row, "its mask is whole again" if is_back else "the label was superseded")


def _check_served(catalog: Catalog) -> None:
    """Check the files of the champion and the learner, which are fetched again if they are damaged."""
    registry = registry_of(catalog.settings)
    bundles = bundle_cache(catalog.settings, registry)
    try:
        served = {version.version: version for version in (registry.champion(), registry.learner()) if version}
    except ServiceDownError as error:
        log.warning("the files of the served version are not checked: %s", error)
        return
    for number, version in served.items():
        name = f"version {number}"
        try:
            bundles.directory(version, FILES)
        except (CorruptBundleError, NotFoundError) as error:
            with catalog.write() as session:
                set_aside.set_aside(session, Kind.VERSION, name, str(error), number)
            continue
        with catalog.write() as session:
            row = set_aside.find(session, Kind.VERSION, name)
            if row is not None:
                set_aside.end(row, "its files are whole again")
