"""Which files of the raster store rows refer to, and which of them nobody refers to any more."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from catalog import scorings, training
from catalog.data_set_records import DataSet
from catalog.records import (
    Job,
    JobKind,
    Label,
    Patch,
    Proposal,
    ProposalState,
    Scene,
    SceneState,
    Scoring,
    Shard,
    TrainingRun,
)
from catalog.sharding import is_usable
from imagery.store import RasterStore
from services import raster_keys
from services.expected_edits import ERROR, FOREGROUND
from services.made_files import left_files
from services.sent_uploads import abandoned_uploads

MAPS: Final = ("classes", ERROR, FOREGROUND, "entropy")
_NUMBERED: Final = re.compile(
    r"(?P<of>scenes|scorings|training)/(run-)?(?P<number>\d+)/|(?P<kind>predictions/scene|views/patch|labels/patch)-(?P<id>\d+)/"
)


@dataclass(frozen=True)
class StoredFile:
    """A file that a row refers to.

    Attributes:
        key: Its key in the store.
        sha256: The checksum in the row; None if only the store notes one.
    """

    key: str
    sha256: str | None = None


def expected_files(session: Session, *, clicks: bool) -> Iterator[StoredFile]:
    """Yield the files without which something that is in use cannot be used: of labels, masks, maps, views, data sets.

    Args:
        session: a session.
        clicks: whether annotators may click (setting ``interactive_clicks``): then patches that wait need their bands.
    """
    standing = select(Label.mask_key, Label.mask_sha256).where(Label.superseded_at.is_(None)).order_by(Label.id)
    for key, sha256 in session.execute(standing):
        yield StoredFile(key, sha256)
    for scene in session.scalars(select(Scene).where(Scene.state == SceneState.READY).order_by(Scene.id)):
        yield from map(StoredFile, mask_keys(scene))
    kept = select(Scoring).where(Scoring.completed_at.is_not(None), Scoring.removed_at.is_(None))
    for scoring in session.scalars(kept.order_by(Scoring.id)):
        if scorings.is_complete(scoring):
            yield from map(StoredFile, _files_of(session, scoring))
    waiting = select(Proposal).where(Proposal.state == ProposalState.PUBLISHED).options(joinedload(Proposal.patch))
    for proposal in session.scalars(waiting.order_by(Proposal.id)):
        for name in (proposal.views or {}).values():
            yield StoredFile(raster_keys.view(proposal.patch_id, name))
        if clicks:
            yield StoredFile(raster_keys.bands(proposal.patch_id))
        if proposal.preannotated_by is not None:
            yield StoredFile(raster_keys.preannotation(proposal.uid, proposal.preannotated_by))
    for data_set in session.scalars(select(DataSet).order_by(DataSet.id)):
        if data_set.contents is not None:
            yield StoredFile(raster_keys.data_set(data_set.uid))


def mask_keys(scene: Scene) -> list[str]:
    """Return the keys of the masks that a tiled scene has in the store."""
    truth = [raster_keys.truth(scene.id)] if scene.outlines else []
    return truth + ([raster_keys.prior(scene.id)] if scene.prior_outlines is not None else [])


def orphans(session: Session, store: RasterStore, keys: Collection[str]) -> list[str]:
    """Return the keys of files that belong to no row: a scene, scoring, patch, proposal, run, label, job or data set.

    Files of a removed scoring that are still to be deleted are no orphans.
    """
    owners = {
        "scenes": set(session.scalars(select(Scene.id).where(Scene.state != SceneState.REMOVED))),
        "scorings": set(session.scalars(select(Scoring.id))),
        "training": set(session.scalars(select(TrainingRun.id))),
    }
    unwanted = {*left_files(session, keys), *abandoned_uploads(session, store, keys)}
    owners["predictions/scene"] = owners["scenes"]
    owners["views/patch"] = set(session.scalars(select(Patch.id)))
    masks = set(session.scalars(select(Label.mask_key)))
    uids = set(session.scalars(select(Proposal.uid)))
    by_id = select(Job.key).where(Job.kind.in_((JobKind.PREDICT_AREA, JobKind.COMPARE_SCENES)))
    asked = {key.partition(":")[2] for key in session.scalars(by_id)}
    found = []
    for key in keys:
        match = _NUMBERED.match(key)
        if key.startswith("labels/"):
            is_owned = key in masks
        elif key.startswith("preannotations/"):
            is_owned = key.split("/")[1] in uids
        elif key.startswith(("predictions/area-", "predictions/change-")):
            is_owned = key.split("/")[1].partition("-")[2] in asked
        elif raster_keys.is_upload(key) or key.startswith(f"{raster_keys.DATA_SETS}/"):
            is_owned = key not in unwanted
        elif match is None:
            is_owned = False
        else:
            of, number = match["of"] or match["kind"], match["number"] or match["id"]
            is_owned = int(number) in owners[of]
        if not is_owned:
            found.append(key)
    return found


def left_checkpoints(session: Session, present: Collection[str]) -> list[str]:
    """Return the keys of checkpoints, of those that are in the store, whose training has ended."""
    ended = select(TrainingRun.id).where(TrainingRun.state.in_(training.ENDED))
    return [key for run_id in session.scalars(ended) if (key := raster_keys.checkpoint(run_id)) in present]


def _files_of(session: Session, scoring: Scoring) -> Iterator[str]:
    """Yield the keys of the maps of a complete scoring, and of its arrays; without scenes that are set aside."""
    done = select(Shard.scene_id).where(Shard.scoring_id == scoring.id, is_usable()).distinct()
    scenes = session.scalars(done.order_by(Shard.scene_id)).all()
    for scene_id in scenes:
        yield from (raster_keys.scored(scoring.id, scene_id, what) for what in MAPS)
    if scenes:
        yield raster_keys.score_table(scoring.id)
        yield raster_keys.patch_features(scoring.id)
