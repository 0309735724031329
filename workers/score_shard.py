"""Job: score the patches of a shard by one model version, by one deterministic pass or with Monte Carlo dropout."""

import logging
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import add
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from catalog import scorings, set_aside, sharding
from catalog.records import Patch, Score, Shard, ShardKind
from catalog.set_aside import Kind
from imagery.scene_reader import SceneReader
from models.inference import pick_precision
from models.mc_dropout import PIXELS_TOGETHER, McPrediction, McSampler, PassMasks
from models.measures import MEASURES, PatchProfile, profile_patch, score_patch
from services.class_scheme import class_scheme
from services.places import raster_store
from services.scenes import source_of, window_of
from workers import feature_rows, half_scores, score_tables
from workers.areas import VersionCalibration
from workers.jobs import JobContext
from workers.prior_scores import PriorScores
from workers.scene_masks import make_whole
from workers.scored_maps import ScoredWindow, write_part
from workers.versions import LoadedVersion, load_scoring_version
from workers.windows import batches, read_ahead, read_batch

log = logging.getLogger(__name__)

Scores = dict[str, float]
"""Scores of a patch by measure."""

# Each pass prunes the weights once for all patches of a batch, so a batch holds enough pixels to make that cheap. A GPU
# needs more to be busy.
PIXELS_READ_TOGETHER: Final = {"cpu": PIXELS_TOGETHER, "cuda": 4 * PIXELS_TOGETHER}

PATCHES_REPLACED_TOGETHER: Final = 500  # a statement takes a limited number of parameters


def score_shard(context: JobContext, shard_id: int) -> None:
    """Score a shard, unless another model version scores by now or its scoring was removed."""
    version = load_scoring_version(context.catalog)
    with context.catalog.read() as session:
        shard = scorings.get_shard(session, shard_id)
        is_aside = set_aside.find(session, Kind.SCENE, shard.scene.name) is not None
    if shard.done_at is not None:
        return
    if is_aside:
        log.warning("shard %d is not scored: scene %s is set aside", shard_id, shard.scene.name)
        with context.catalog.write() as session:
            scorings.go_on_if_done(session, shard.scoring_id)
        return
    scoring = version.version.version if version is not None else None
    if version is None or scoring != shard.scoring.model_version or shard.scoring.removed_at is not None:
        log.info("shard %d is not scored: version %d no longer scores", shard_id, shard.scoring.model_version)
        return
    score_by(context, version, shard)


def score_by(context: JobContext, version: LoadedVersion, shard: Shard) -> None:
    """Score a shard by this version; store its part of the maps and arrays, then its scores.

    Raises:
        SceneError: the scene lacks a channel of the version, or cannot be read.
        OutlineError: the mask of its prior outlines is damaged, and they cannot be read.
    """
    started = time.monotonic()
    with context.catalog.read() as session:
        patches = sharding.patches_of(session, shard)
    if not patches:  # A concurrent attempt already scored these patches.
        return
    make_whole(context.catalog, shard.scene)
    run = _Run(context, version, shard, patches)
    store = raster_store(context.catalog)
    scheme = class_scheme(context.catalog)
    priors = PriorScores(store, shard, version.segmenter.decide, scheme)
    # Closed before the reader, also after an error: the windows are read in a thread.
    with SceneReader(source_of(shard.scene)) as reader, closing(run.windows(reader)) as windows:
        write_part(store, shard, priors.watch(windows), version.segmenter.decide, scheme, _tables(version))
    if shard.kind is ShardKind.MONTE_CARLO:
        half_scores.write_part(store, shard, run.halves)
    score_tables.write_part(store, shard, run.profiles, priors.foreground(patches))
    feature_rows.write_part(store, shard, run.features)
    with context.catalog.write() as session:
        if scorings.mark_done(session, shard.id, time.monotonic() - started):
            _store(session, shard, patches, [*run.scores, *priors.rows(patches)])


def _tables(version: LoadedVersion) -> Sequence[NDArray[np.float64]] | None:
    """Return the calibration of a version by class; None for versions of releases that did not calibrate."""
    error = version.card.area_error
    return None if error is None else VersionCalibration(version.card.classes, "", error).tables


def _store(session: Session, shard: Shard, patches: Sequence[Patch], scores: Sequence[dict[str, object]]) -> None:
    """Store the scores of a shard; those of a shortlist replace the screening scores of the same patches."""
    if shard.stage:
        for page in batches(patches, PATCHES_REPLACED_TOGETHER):
            of_page = Score.patch_id.in_([patch.id for patch in page])
            session.execute(delete(Score).where(Score.scoring_id == shard.scoring_id, of_page))
    session.execute(insert(Score), scores)


@dataclass
class _Run:
    """One attempt to score a shard: its patches, and what was computed of them so far.

    Attributes:
        context: The job.
        version: The model version that scores.
        shard: With its scene and scoring.
        patches: Patches of the shard, row by row.
        scores: Rows of the table of scores.
        halves: Scores by each half of the passes, by patch id; empty in a screening pass.
        profiles: The measure ``entropy_top10`` and the profile of each patch, by its id.
        features: What the network sees in each patch, projected (`workers.feature_rows.project`), by its id.
    """

    context: JobContext
    version: LoadedVersion
    shard: Shard
    patches: Sequence[Patch]
    scores: list[dict[str, object]] = field(default_factory=list)
    halves: dict[int, half_scores.Halves] = field(default_factory=dict)
    profiles: dict[int, tuple[float, PatchProfile]] = field(default_factory=dict)
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def windows(self, reader: SceneReader) -> Generator[ScoredWindow, None, None]:
        """Score the patches batch by batch; yield the window of each with the layers of the maps."""
        scoring, segmenter = self.shard.scoring, self.version.segmenter
        sampler, groups = self._sampler_and_masks()
        side, margin = self.shard.scene.patch_size_px, self.context.catalog.settings.mc_margin_px
        size = max(1, PIXELS_READ_TOGETHER[segmenter.device.type] // (side + 2 * margin) ** 2)
        measured = list(reader.source.measured(self.version.card.channels))
        done = 0
        read = partial(_read, reader, self.version.card.channels, margin)
        for batch, raw in read_ahead(batches(self.patches, size), read):
            parts = [group.cropped(margin) for group in sampler.sample_apart(raw, groups)]
            sums = reduce(add, parts)
            prediction = sums.prediction()
            valid = raw[:, measured, margin : margin + side, margin : margin + side].isfinite().all(dim=1)
            names = MEASURES if self.shard.kind is ShardKind.MONTE_CARLO else sharding.SCREENED_MEASURES
            scores, ids = _scores(prediction, valid, names), [patch.id for patch in batch]
            self._keep_scores(batch, scores)
            entropies = [of_patch["entropy_top10"] for of_patch in scores]
            self.profiles.update(zip(ids, zip(entropies, _profiles(prediction, valid), strict=True), strict=True))
            self.features.update(zip(ids, feature_rows.project(sums.features().numpy()), strict=True))
            if self.shard.kind is ShardKind.MONTE_CARLO:
                first, second = (_scores(part.prediction(), valid) for part in parts)
                self.halves.update(zip(ids, zip(first, second, strict=True), strict=True))
            done += len(batch)
            message = f"scoring {self.shard.scene.name} by version {scoring.model_version}"
            self.context.progress(done, len(self.patches), message)
            entropy, invalid = prediction.predictive_entropy[:, None], (~valid)[:, None].float()
            layers = torch.cat([prediction.mean_probability, entropy, invalid], dim=1)
            yield from zip(map(window_of, batch), layers.numpy(), strict=True)

    def _sampler_and_masks(self) -> tuple[McSampler, list[list[PassMasks]]]:
        """Return all passes in two halves, or the one deterministic pass of a screening."""
        segmenter, scoring = self.version.segmenter, self.shard.scoring
        precision = pick_precision(segmenter.device, self.context.catalog.settings.mc_precision)
        if self.shard.kind is ShardKind.SCREENING:
            sampler = McSampler(segmenter, precision, p=0.0)
            return sampler, [sampler.draw(1, scoring.seed)]
        sampler = McSampler(segmenter, precision)
        masks = sampler.draw(scoring.passes, scoring.seed)
        return sampler, [masks[: len(masks) // 2], masks[len(masks) // 2 :]]

    def _keep_scores(self, batch: Sequence[Patch], scores: Sequence[Scores]) -> None:
        """Add the rows of a batch."""
        self.scores += [
            {
                "scoring_id": self.shard.scoring_id,
                "patch_id": patch.id,
                "measure": measure,
                "screening": self.shard.kind is ShardKind.SCREENING,
                "value": value,
            }
            for patch, of_patch in zip(batch, scores, strict=True)
            for measure, value in of_patch.items()
        ]


def _scores(prediction: McPrediction, valid: torch.Tensor, names: Iterable[str] = MEASURES) -> list[Scores]:
    """Compute measures of each patch of a batch, by default all."""
    maps = {name: of_batch.numpy() for name, of_batch in prediction.maps().items()}
    return [
        score_patch({name: of_batch[index] for name, of_batch in maps.items()}, usable, names)
        for index, usable in enumerate(valid.numpy())
    ]


def _profiles(prediction: McPrediction, valid: torch.Tensor) -> list[PatchProfile]:
    """Compute the profile of each patch of a batch."""
    arrays = (prediction.mean_probability.numpy(), prediction.predictive_entropy.numpy(), valid.numpy())
    return [profile_patch(*of_patch) for of_patch in zip(*arrays, strict=True)]


def _read(reader: SceneReader, channels: Sequence[str], margin: int, patches: Sequence[Patch]) -> torch.Tensor:
    return read_batch(reader, channels, [window_of(patch) for patch in patches], margin)
