"""A small installation whose jobs are done here, one after another, with real services behind a fault proxy."""

import os
import random
from collections.abc import Sequence
from pathlib import Path

from catalog import jobs, labels
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState, Patch, SceneRole
from chaos.fault_proxy import Call, Damage
from imagery.classes import GLACIER_SCHEME
from imagery.masks import mask_to_geotiff
from services import raster_keys
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.catalog_fixtures import add_round, label_of
from tests.workers.rows import patches, tiled
from workers.jobs import perform

ATTEMPTS = 6
ALL = "CHAOS_ALL_FAULTS"
_UNKNOWN_OUTCOME = (Damage.CUT_ANSWER, Damage.DOUBLE, Damage.LATE_REQUEST)


def with_labels(catalog: Catalog, folder: Path) -> None:
    """Add a validation scene, and four labelled patches of a pool scene."""
    tiled(catalog, folder / "validation.tif", SceneRole.VALIDATION, offset_px=400)
    scene, forged = tiled(catalog, folder / "pool.tif")
    chosen = patches(catalog, scene.id)[5:9]
    store = raster_store(catalog)
    with catalog.database.write() as session:
        _, proposals = add_round(session, [session.get_one(Patch, patch.id) for patch in chosen])
        for number, (patch, proposal) in enumerate(zip(chosen, proposals, strict=True), start=1):
            label = label_of(session, proposal, number)
            label.mask_key = raster_keys.label(patch.id, number, label.event_id)
            mask = forged.truth[window_of(patch).slices]
            written = mask_to_geotiff(mask, source_of(scene).grid, GLACIER_SCHEME, window_of(patch))
            label.mask_sha256 = store.put(label.mask_key, written)
            labels.store(session, label)


def do(catalog: Catalog, kind: JobKind, key: str = "", **subject: object) -> Job:
    """Do a job as often as it is queued again, as workers do; return its row."""
    with catalog.database.write() as session:
        job_id = jobs.enqueue(session, kind, key, **subject).id
    for _ in range(ATTEMPTS):
        with catalog.database.write() as session:
            job = jobs.claim(session, job_id)
        assert job is not None
        perform(catalog, job)
        with catalog.read() as session:
            ended = session.get_one(Job, job_id)
        if ended.state is not JobState.QUEUED:
            break
    return ended


def cases(calls: Sequence[Call], sample: int) -> list[tuple[Damage, int]]:
    """List damages to calls by their numbers, those of writing calls first.

    All of them if the environment variable ``CHAOS_ALL_FAULTS`` is set, else a sample of those that matter most: a
    writing call that was or will be done, though its client does not know.
    """
    writes = [number for number, call in enumerate(calls) if call.method != "GET"]
    reads = [number for number, call in enumerate(calls) if call.method == "GET"]
    listed = [(damage, number) for damage in _UNKNOWN_OUTCOME for number in writes]
    if not os.environ.get(ALL):
        return random.Random(13).sample(listed, sample)
    others = [damage for damage in Damage if damage not in _UNKNOWN_OUTCOME]
    listed += [(damage, number) for damage in others for number in writes]
    return listed + [(damage, number) for damage in Damage for number in reads]
