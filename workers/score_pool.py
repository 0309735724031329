"""Job: score the pool with Monte-Carlo dropout by the champion, and leave the maps that proposals are made from."""

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import raster_keys
from catalog.records import Patch, Scene, Score, Scoring, now
from imagery.classes import CLASSES, UNKNOWN
from imagery.cog import float_map_to_geotiff
from imagery.masks import mask_to_geotiff
from imagery.scene import SceneReader
from imagery.stitching import Stitcher
from models.mc_dropout import predict_mc
from models.measures import score_patch
from workers.jobs import Work
from workers.pool import unscored_scenes
from workers.scenes import patches_of, raster_store, source_of, window_of
from workers.versions import LoadedVersion, load_champion
from workers.windows import batches, read_batch


def score_pool(work: Work) -> None:
    """Score every patch of the pool that the champion has not scored yet; nothing without a champion."""
    champion = load_champion(work.catalog)
    if champion is not None:
        score_by(work, champion)


def score_by(work: Work, champion: LoadedVersion) -> None:
    """Score every patch of the pool that this version has not scored yet by the present settings.

    Raises:
        SceneError: a scene lacks a channel of the version, or cannot be read.
    """
    settings = work.catalog.settings
    started = time.monotonic()
    with work.catalog.write() as session:
        scoring = _scoring_of(session, champion.version.version, settings.mc_passes, settings.mc_seed)
        scenes = unscored_scenes(session, scoring)
        todo = {scene.id: patches_of(session, scene.id) for scene in scenes}
    total, done = sum(map(len, todo.values())), 0
    for scene in scenes:
        for count in _score_scene(work, champion, scoring, scene, todo[scene.id]):
            done += count
            work.progress(done, total, f"scoring {scene.name} by version {champion.version.version}")
    with work.catalog.write() as session:
        complete = session.get_one(Scoring, scoring.id)
        complete.completed_at = now()
        complete.seconds = (complete.seconds or 0.0) + time.monotonic() - started


def patch_seed(seed: int, patch_id: int) -> int:
    """Derive the seed of a patch's dropout masks: its score must not depend on its batch or its worker."""
    return int(np.random.SeedSequence((seed, patch_id)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _scoring_of(session: Session, version: int, passes: int, seed: int) -> Scoring:
    same = (Scoring.model_version == version) & (Scoring.passes == passes) & (Scoring.seed == seed)
    scoring = session.scalar(select(Scoring).where(same))
    if scoring is None:
        scoring = Scoring(model_version=version, passes=passes, seed=seed)
        session.add(scoring)
        session.flush()
    return scoring


def _score_scene(
    work: Work, champion: LoadedVersion, scoring: Scoring, scene: Scene, patches: list[Patch]
) -> Iterator[int]:
    """Score one scene, yielding after each batch how many patches it held; scores and maps are stored at the end."""
    source, settings = source_of(scene), work.catalog.settings
    maps = _SceneMaps(source.grid.height, source.grid.width)
    scores = []
    with SceneReader(source) as reader:
        for batch in batches(patches, settings.inference_batch_size):
            raw = read_batch(reader, champion.card.channels, [window_of(patch) for patch in batch])
            seeds = [patch_seed(scoring.seed, patch.id) for patch in batch]
            prediction = predict_mc(champion.segmenter, raw, scoring.passes, seeds)
            for i, patch in enumerate(batch):
                valid = raw[i].isfinite().all(dim=0).numpy()
                uncertainty = {
                    "predictive_entropy": prediction.predictive_entropy[i].numpy(),
                    "mutual_information": prediction.mutual_information[i].numpy(),
                }
                maps.add(patch, prediction.mean_probability[i].numpy(), uncertainty["predictive_entropy"], valid)
                scores += [
                    Score(scoring_id=scoring.id, patch_id=patch.id, measure=measure, value=value)
                    for measure, value in score_patch(uncertainty, valid).items()
                ]
            yield len(batch)
    classes, entropy = maps.result()
    store, grid = raster_store(work.catalog), source.grid
    store.put(raster_keys.scored(scoring.id, scene.id, "classes"), mask_to_geotiff(classes, grid))
    entropy_map = float_map_to_geotiff(entropy, grid, "predictive entropy (nats)")
    store.put(raster_keys.scored(scoring.id, scene.id, "entropy"), entropy_map)
    with work.catalog.write() as session:
        session.add_all(scores)


class _SceneMaps:
    """The blended maps of one scene: probability of each class and predictive entropy."""

    def __init__(self, height: int, width: int) -> None:
        self._stitcher = Stitcher(height, width, len(CLASSES) + 1)
        self._invalid = np.zeros((height, width), dtype=bool)

    def add(
        self,
        patch: Patch,
        probability: NDArray[np.float32],
        entropy: NDArray[np.float32],
        valid: NDArray[np.bool_],
    ) -> None:
        window = window_of(patch)
        self._stitcher.add(window, np.concatenate([probability, entropy[None]]))
        self._invalid[window.slices] |= ~valid

    def result(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return classes (H, W) and entropy (H, W) in nats, NaN without data."""
        blended = self._stitcher.result()
        classes = blended[:-1].argmax(axis=0).astype(np.uint8)
        classes[self._invalid] = UNKNOWN.value
        entropy = blended[-1]
        entropy[self._invalid] = np.nan
        return classes, entropy
