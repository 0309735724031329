"""Job: score the pool with Monte-Carlo dropout by the champion, and leave the maps that proposals are made from."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import raster_keys
from catalog.records import Patch, Scene, Score, Scoring, now
from imagery.classes import UNKNOWN
from imagery.cog import float_map_writer
from imagery.grid import Window
from imagery.masks import mask_to_geotiff
from imagery.scene import SceneReader
from imagery.stitching import stitch
from models.heads import decide
from models.inference import pick_precision
from models.mc_dropout import McPrediction, predict_mc
from models.measures import score_patch
from workers.jobs import Work
from workers.pool import unscored_scenes
from workers.scenes import patches_of, raster_store, source_of, window_of
from workers.versions import LoadedVersion, load_champion
from workers.windows import batch_size_for, batches, read_batch

# A pass chooses its weights once for all patches that are read together; few large ones make up for that.
PIXELS_READ_TOGETHER = 4 * 512 * 512


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
    precision = pick_precision(champion.segmenter.device, settings.mc_precision)
    started = time.monotonic()
    with work.catalog.write() as session:
        scoring = _scoring_of(session, champion.version.version, settings.mc_passes, settings.mc_seed)
        scenes = unscored_scenes(session, scoring)
        todo = {scene.id: patches_of(session, scene.id) for scene in scenes}
    total, done = sum(map(len, todo.values())), 0

    def scored(scene: Scene, count: int) -> None:
        nonlocal done
        done += count
        work.progress(done, total, f"scoring {scene.name} by version {champion.version.version}")

    for scene in scenes:
        run = _SceneScoring(scoring, scene, todo[scene.id], settings.inference_batch_size, precision, scored)
        _score_scene(work, champion, run)
    with work.catalog.write() as session:
        complete = session.get_one(Scoring, scoring.id)
        complete.completed_at = now()
        complete.seconds = (complete.seconds or 0.0) + time.monotonic() - started


def _scoring_of(session: Session, version: int, passes: int, seed: int) -> Scoring:
    same = (Scoring.model_version == version) & (Scoring.passes == passes) & (Scoring.seed == seed)
    scoring = session.scalar(select(Scoring).where(same))
    if scoring is None:
        scoring = Scoring(model_version=version, passes=passes, seed=seed)
        session.add(scoring)
        session.flush()
    return scoring


def _score_scene(work: Work, champion: LoadedVersion, run: "_SceneScoring") -> None:
    """Score one scene; scores and maps are stored at the end.

    The map of classes is held whole, one byte a pixel; that of entropy goes to a file as its rows are finished.
    """
    source, store = source_of(run.scene), raster_store(work.catalog)
    grid = source.grid
    classes = np.empty((grid.height, grid.width), dtype=np.uint8)
    with SceneReader(source) as reader, TemporaryDirectory() as folder:
        entropy_file = Path(folder) / "entropy.tif"
        with float_map_writer(entropy_file, grid, "predictive entropy (nats)") as write_entropy:
            for row, strip in stitch(run.parts(champion, reader), grid.height, grid.width):
                probability, entropy, invalid = strip[:-2], strip[-2], strip[-1] > 0
                classes[row : row + strip.shape[1]] = np.where(
                    invalid, UNKNOWN.value, decide(probability, champion.segmenter.head)
                )
                write_entropy(row, np.where(invalid, np.float32(np.nan), entropy))
        store.put(raster_keys.scored(run.scoring.id, run.scene.id, "classes"), mask_to_geotiff(classes, grid))
        store.put_file(raster_keys.scored(run.scoring.id, run.scene.id, "entropy"), entropy_file)
    with work.catalog.write() as session:
        session.add_all(run.scores)


class _SceneScoring:
    """The patches of one scene on their way through the network: their scores, and their parts of its maps."""

    def __init__(
        self,
        scoring: Scoring,
        scene: Scene,
        patches: list[Patch],
        most_together: int,
        precision: torch.dtype,
        scored: Callable[[Scene, int], None],
    ) -> None:
        """Queue patches; ``scored`` is called after each batch with how many patches it held."""
        self.scoring, self.scene, self.scores = scoring, scene, list[Score]()
        # Stitching takes windows row by row.
        self._patches = sorted(patches, key=lambda patch: (patch.row_off, patch.col_off))
        self._batch_size = batch_size_for(scene.patch_size_px, most_together, PIXELS_READ_TOGETHER)
        self._precision = precision
        self._scored = scored

    def parts(self, champion: LoadedVersion, reader: SceneReader) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """Score batch by batch, and yield each window with its K class probabilities, entropy, and 1 for nodata."""
        for batch in batches(self._patches, self._batch_size):
            windows = [window_of(patch) for patch in batch]
            raw = read_batch(reader, champion.card.channels, windows)
            prediction = predict_mc(champion.segmenter, raw, self.scoring.passes, self.scoring.seed, self._precision)
            valid = raw.isfinite().all(dim=1)
            self._keep_scores(batch, prediction, valid.numpy())
            self._scored(self.scene, len(batch))
            entropy, invalid = prediction.predictive_entropy[:, None], (~valid)[:, None].float()
            layers = torch.cat([prediction.mean_probability, entropy, invalid], dim=1)
            yield from zip(windows, layers.numpy(), strict=True)

    def _keep_scores(self, batch: list[Patch], prediction: McPrediction, valid: NDArray[np.bool_]) -> None:
        for i, patch in enumerate(batch):
            uncertainty = {
                "predictive_entropy": prediction.predictive_entropy[i].numpy(),
                "mutual_information": prediction.mutual_information[i].numpy(),
            }
            self.scores += [
                Score(scoring_id=self.scoring.id, patch_id=patch.id, measure=measure, value=value)
                for measure, value in score_patch(uncertainty, valid[i]).items()
            ]
