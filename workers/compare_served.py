"""Job: after another version is served, compare its maps of the pool with those of the version served before."""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from catalog.canary_records import CanaryComparison
from catalog.context import Catalog
from catalog.decision_records import Promotion
from catalog.errors import ConflictError
from catalog.records import Patch
from imagery.classes import UNKNOWN
from imagery.scene_reader import SceneReader
from models.heads import head_classes
from models.inference import predict_windows
from models.segmenter import GlacierSegmenter
from services import canary
from services.class_scheme import class_scheme
from services.scenes import source_of, window_of
from services.unusable_scenes import check_scenes, not_set_aside
from workers.jobs import JobContext
from workers.stability import count_pairs, place_of, sample
from workers.versions import LoadedVersion, load_version
from workers.windows import batch_size_for, batches, read_batch

log = logging.getLogger(__name__)

MOST_PIXELS: Final = 2**24
"""Most pixels that are predicted by each version: 64 patches of 512 px."""


def compare_served(context: JobContext, decision_id: int) -> None:
    """Predict a sample of unlabelled patches by both versions of a decision, and store how far the maps differ.

    Idempotent. Both versions predict anew, each patch by one deterministic pass: the maps that scorings keep are of
    other versions if the learner scores, are means of many passes on a part of the patches, and are there only when the
    whole pool has been scored.

    Raises:
        NotFoundError: one of the versions was deleted in MLflow.
        ConflictError: one of them predicts other classes.
        ServiceDownError: MLflow does not answer.
    """
    catalog = context.catalog
    with catalog.read() as session:
        decision = session.get_one(Promotion, decision_id)
        known = session.scalar(select(CanaryComparison.id).where(CanaryComparison.decision_id == decision_id))
    if known is None and decision.model_version is not None and decision.previous_version is not None:
        versions = [load_version(catalog, number) for number in (decision.previous_version, decision.model_version)]
        compare(context, decision_id, versions[0], versions[1])


def compare(context: JobContext, decision_id: int, before: LoadedVersion, after: LoadedVersion) -> None:
    """Compare two loaded versions and store the result.

    Raises:
        ConflictError: they predict different classes.
    """
    catalog, scheme = context.catalog, class_scheme(context.catalog)
    classes, of_before = (
        head_classes(version.segmenter.head, scheme.names, scheme.foreground) for version in (after, before)
    )
    if classes != of_before:
        numbers = f"versions {before.version.version} and {after.version.version}"
        raise ConflictError(f"{numbers} predict {of_before} and {classes}; expected the same classes")
    patches = _sample(catalog)
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    done = 0
    for _, grouped in groupby(sorted(patches, key=place_of), key=lambda patch: patch.scene_id):
        of_scene = list(grouped)
        for earlier, later in _pairs(catalog, of_scene, before.segmenter, after.segmenter):
            context.progress(done, len(patches), f"comparing version {after.version.version} with the one before")
            counts += count_pairs(earlier, later, len(classes))
            done += 1
    if not counts.any():
        log.info("the pool has no unlabelled patch with data, so that what is served now is not compared")
        return
    with catalog.write() as session:
        decision = session.get_one(Promotion, decision_id)
        canary.record(session, decision, len(patches), classes, counts, catalog.settings)


def _sample(catalog: Catalog) -> list[Patch]:
    """Return the patches to compare, those of scenes that cannot be read left out."""
    with catalog.read() as session:
        patches = sample(session)
    if not patches:
        return []
    patches = patches[: max(1, MOST_PIXELS // patches[0].size_px ** 2)]
    scenes = {patch.scene_id: patch.scene for patch in patches}
    readable = {scene.id for scene in check_scenes(catalog, not_set_aside(catalog, scenes.values()))}
    return [patch for patch in patches if patch.scene_id in readable]


def _pairs(
    catalog: Catalog, patches: Sequence[Patch], before: GlacierSegmenter, after: GlacierSegmenter
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield the class maps (h, w) of patches of one scene by both networks."""
    source = source_of(patches[0].scene)
    size = batch_size_for(patches[0].size_px, catalog.settings.inference_batch_size)
    with SceneReader(source) as reader:
        for batch in batches([window_of(patch) for patch in patches], size):
            raw = read_batch(reader, after.channels, batch)
            unknown = (~raw[:, list(source.measured(after.channels))].isfinite()).any(dim=1).numpy()
            maps = []
            for network in (before, after):
                (probabilities,) = predict_windows(network, [raw])
                classes = np.stack([network.decide(of_patch) for of_patch in probabilities.numpy()])
                classes[unknown] = UNKNOWN
                maps.append(classes)
            yield from zip(*maps, strict=True)
