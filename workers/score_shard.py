"""Job: score patches of some rows of a scene with Monte Carlo dropout by the champion, or survey them without."""

import logging
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import add
from typing import Final

import torch
from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from catalog import scorings, sharding
from catalog.records import Patch, Score, Shard
from imagery.scene_reader import SceneReader
from models.inference import pick_precision
from models.mc_dropout import PIXELS_TOGETHER, McPrediction, McSampler, PassMasks
from models.measures import score_patch
from services.class_scheme import class_scheme
from services.places import raster_store
from services.scenes import source_of, window_of
from workers.jobs import Work
from workers.scored_maps import ScoredWindow, write_part
from workers.versions import LoadedVersion, load_champion
from workers.windows import batches, read_ahead, read_batch

log = logging.getLogger(__name__)

Scores = dict[str, float]
"""Of one patch, by measure."""

# A pass chooses its weights once for all patches that are read together: so many that this costs little. A GPU wants
# more than that to be busy.
PIXELS_READ_TOGETHER: Final = {"cpu": PIXELS_TOGETHER, "cuda": 4 * PIXELS_TOGETHER}

PATCHES_REPLACED_TOGETHER: Final = 500  # more would be too many parameters of a statement


def score_shard(work: Work, shard_id: int) -> None:
    """Score a shard, unless the version that its scoring is by is no longer served."""
    champion = load_champion(work.catalog)
    with work.catalog.read() as session:
        shard = scorings.get_shard(session, shard_id)
    if shard.done_at is not None:
        return
    served = champion.version.version if champion is not None else None
    if champion is None or served != shard.scoring.model_version:
        log.info("shard %d is given up: version %d is no longer served", shard_id, shard.scoring.model_version)
        return
    score_by(work, champion, shard)


def score_by(work: Work, champion: LoadedVersion, shard: Shard) -> None:
    """Score a shard by this version: its part of the maps goes to the store, then its scores to the catalog.

    Raises:
        SceneError: the scene lacks a channel of the version, or cannot be read.
    """
    started = time.monotonic()
    with work.catalog.read() as session:
        patches = sharding.patches_of(session, shard)
    if not patches:  # another attempt has just met them: they are contested no more
        return
    run = _Run(work, champion, shard, patches)
    # The windows end before the reader does, whatever happens: they read in a thread.
    with SceneReader(source_of(shard.scene)) as reader, closing(run.windows(reader)) as windows:
        write_part(raster_store(work.catalog), shard, windows, champion.segmenter.decide, class_scheme(work.catalog))
    with work.catalog.write() as session:
        if scorings.mark_done(session, shard.id, time.monotonic() - started):
            _store(session, shard, patches, run.scores)


def _store(session: Session, shard: Shard, patches: Sequence[Patch], scores: Sequence[dict[str, object]]) -> None:
    """Store the scores of a shard, in place of those that a survey gave the same patches."""
    if shard.stage:
        for page in batches(patches, PATCHES_REPLACED_TOGETHER):
            surveyed = Score.patch_id.in_([patch.id for patch in page])
            session.execute(delete(Score).where(Score.scoring_id == shard.scoring_id, surveyed))
    session.execute(insert(Score), scores)


@dataclass
class _Run:
    """The patches of a shard on their way through the network, and their scores as rows."""

    work: Work
    champion: LoadedVersion
    shard: Shard
    patches: Sequence[Patch]
    scores: list[dict[str, object]] = field(default_factory=list)

    def windows(self, reader: SceneReader) -> Generator[ScoredWindow, None, None]:
        """Score batch by batch, and yield each window with what the maps are made of."""
        scoring, segmenter = self.shard.scoring, self.champion.segmenter
        sampler, groups = self._sampler_and_masks()
        size = max(1, PIXELS_READ_TOGETHER[segmenter.device.type] // self.shard.scene.patch_size_px**2)
        done = 0
        for batch, raw in read_ahead(batches(self.patches, size), partial(_read, reader, self.champion.card.channels)):
            parts = sampler.sample_apart(raw, groups)
            prediction = reduce(add, parts).prediction()
            valid = raw.isfinite().all(dim=1)
            halves = [_scores(part.prediction(), valid) for part in parts] if len(parts) > 1 else []
            self._keep_scores(batch, _scores(prediction, valid), halves)
            done += len(batch)
            message = f"scoring {self.shard.scene.name} by version {scoring.model_version}"
            self.work.progress(done, len(self.patches), message)
            entropy, invalid = prediction.predictive_entropy[:, None], (~valid)[:, None].float()
            layers = torch.cat([prediction.mean_probability, entropy, invalid], dim=1)
            yield from zip(map(window_of, batch), layers.numpy(), strict=True)

    def _sampler_and_masks(self) -> tuple[McSampler, list[list[PassMasks]]]:
        """All passes in two halves, or the one of a survey, which drops nothing."""
        segmenter, scoring = self.champion.segmenter, self.shard.scoring
        precision = pick_precision(segmenter.device, self.work.catalog.settings.mc_precision)
        if self.shard.passes == sharding.SURVEY:
            sampler = McSampler(segmenter, precision, p=0.0)
            return sampler, [sampler.draw(1, scoring.seed)]
        sampler = McSampler(segmenter, precision)
        masks = sampler.draw(self.shard.passes, scoring.seed)
        return sampler, [masks[: len(masks) // 2], masks[len(masks) // 2 :]]

    def _keep_scores(self, batch: Sequence[Patch], whole: Sequence[Scores], halves: Sequence[Sequence[Scores]]) -> None:
        """Make rows; without halves, as after a survey, of those measures only that a single pass knows."""
        for index, (patch, of_all) in enumerate(zip(batch, whole, strict=True)):
            first, second = (half[index] for half in halves) if halves else ({}, {})
            self.scores += [
                {
                    "scoring_id": self.shard.scoring_id,
                    "patch_id": patch.id,
                    "measure": measure,
                    "surveyed": self.shard.passes == sharding.SURVEY,
                    "value": value,
                    "first_half": first.get(measure),
                    "second_half": second.get(measure),
                }
                for measure, value in of_all.items()
                if halves or measure in sharding.SURVEYED
            ]


def _scores(prediction: McPrediction, valid: torch.Tensor) -> list[Scores]:
    """Score each patch by every measure."""
    maps = zip(prediction.predictive_entropy.numpy(), prediction.mutual_information.numpy(), strict=True)
    return [
        score_patch({"predictive_entropy": entropy, "mutual_information": information}, usable)
        for (entropy, information), usable in zip(maps, valid.numpy(), strict=True)
    ]


def _read(reader: SceneReader, channels: Sequence[str], patches: Sequence[Patch]) -> torch.Tensor:
    return read_batch(reader, channels, [window_of(patch) for patch in patches])
