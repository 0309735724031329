"""The loop on one region, without services: choose, label, train, judge, as the workers do, with a small network.

The functions are the product's own: the strategies, the measures, the training, the gate. What differs: the network is
small, all is in memory, predictions are not blended from overlapping windows, rounds hold no controls, and a learner
that has gone wrong is not set back. All computes in float32, so that a result depends on the processor only by
rounding. The annotator is a program (`experiments.patch_annotator`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.candidates import Candidate
from catalog.settings import Settings
from experiments.learner import Labels, Learner, LoopConfig
from experiments.old_outlines import OldOutlines
from experiments.patch_annotator import NOTHING, Effort, annotate
from experiments.region import Region
from imagery.channels import recorded
from imagery.classes import BACKGROUND
from models.block_counts import BlockCounts
from models.gate import FIRST, GateRules, Verdict, compare, judge
from models.score_ratios import iou, mean_iou
from models.segmenter import GlacierSegmenter
from services import strategies
from services.acquisition import Pool

EVERY_PATCH: Final = "every_patch"
"""The name of the run that learns all labels of the pool at once: the ceiling."""


@dataclass(frozen=True)
class RoundResult:
    """What is known after a round.

    Attributes:
        labels: Patches labelled so far.
        edited_pixels: Pixels that were changed so far: of the learner's pre-annotation where it is offered, else of an
            empty mask.
        edited_areas: Connected areas of changed pixels of one class so far.
        drawn_pixels: Pixels that the annotator drew so far. With the brush these are the edited ones; with strokes that
            mend, most of the edited pixels are not drawn.
        strokes: Strokes so far; with the brush one for each edited area, which no person undercuts.
        learner: IoU of each class of the version just trained, on the test part; None where undefined.
        served: The same of the version that the gate lets serve.
        learner_mean_iou: Mean over the classes that occur in the test part.
        served_mean_iou: The same of the served version.
        promoted: Whether the gate let the new version serve.
        chosen: Positions in the pool of the patches of this round.
    """

    labels: int
    edited_pixels: int
    edited_areas: int
    drawn_pixels: int
    strokes: int
    learner: list[float | None]
    served: list[float | None]
    learner_mean_iou: float
    served_mean_iou: float
    promoted: bool
    chosen: list[int]


@dataclass(frozen=True)
class _State:
    """The loop between two rounds; a strategy goes on from a copy of it."""

    labels: Labels
    effort: Effort
    learner: GlacierSegmenter
    preannotates: bool
    champion_blocks: BlockCounts
    champion_labels: int
    champion_on_test: NDArray[np.int64]
    rounds: tuple[RoundResult, ...]


class Loop:
    """The loop on one region with one seed; with old outlines its first version learns from them alone."""

    def __init__(self, region: Region, seed: int, config: LoopConfig, outlines: OldOutlines | None = None) -> None:
        self.region, self.seed, self.config = region, seed, config
        self.settings = Settings()
        self._places = [
            (number, window)
            for number, raster in enumerate(region.parts["pool"])
            for window in raster.windows(region.patch_px)
        ]
        self._outlines = outlines
        self._learner = Learner(region, seed, config, outlines)
        self._drawn = region.masks("pool").numpy()
        self._bands = [region.channels.index(name) for name in recorded(region.channels)]

    @cached_property
    def start(self) -> _State:
        """The state after the version of old outlines and the random rounds, which all strategies share."""
        state = self._label_and_train(None, []) if self._outlines else None
        for number in range(self.config.start_rounds):
            taken = state.labels if state else {}
            candidates = [self._candidate(i, None) for i in range(len(self._places)) if i not in taken]
            pool = Pool.of(candidates, self.config.round_size, 0.0, self._round_seed(number))
            state = self._label_and_train(state, [choice.patch_id for choice in strategies.get("random").choose(pool)])
        if state is None:
            raise ValueError("found neither old outlines nor a random round at the start; expected one of them")
        return state

    def run(self, strategy: str) -> list[RoundResult]:
        """Return the rounds of a strategy, the shared ones at the start included; of `EVERY_PATCH` its only one."""
        if strategy == EVERY_PATCH:
            return [self._ceiling()]
        state = self.start
        for number in range(self.config.chosen_rounds):
            free = [i for i in range(len(self._places)) if i not in state.labels]
            if len(free) < self.config.round_size:
                break
            state = self._label_and_train(state, self._choose(strategy, state, free, number))
        return list(state.rounds)

    def _choose(self, strategy: str, state: _State, free: Sequence[int], past_rounds: int) -> list[int]:
        chosen = strategies.get(strategy)
        seed = self._round_seed(self.config.start_rounds + past_rounds)
        scores: dict[int, float] = {}
        table = features = None
        if chosen.needs.scoring:
            measured, table, features = self._learner.score(state.learner, seed)
            scores = {i: measured[i][chosen.needs.measure] for i in free} if chosen.needs.measure else {}
        candidates = [self._candidate(i, scores.get(i)) for i in free]
        pool = Pool.of(
            candidates,
            self.config.round_size,
            0.0,
            seed,
            table,
            shortlist_foreground=self.settings.shortlist_foreground,
            past_rounds=past_rounds,
            features=features,
            labelled=list(state.labels),
        )
        return [choice.patch_id for choice in chosen.choose(pool)]

    def _label_and_train(self, state: _State | None, chosen: list[int]) -> _State:
        """Label the patches, train the next version from the learner, and judge it."""
        labels, effort = (dict(state.labels), state.effort) if state else ({}, NOTHING)
        for i in chosen:
            bands = self._learner.images[i].numpy()[self._bands]
            labels[i], spent = annotate(
                self.config.annotator, self._offer(state, i), self._drawn[i], bands, self.region.classes
            )
            effort += spent
        segmenter = self._learner.fresh()
        if state is not None:
            segmenter.load_state_dict(state.learner.state_dict())
        self._learner.train(segmenter, labels, self.config.steps, self._round_seed(len(state.rounds) if state else 0))
        blocks = self._learner.judge("validation", segmenter)
        found = self._learner.judge("test", segmenter).confusion.sum(axis=0)
        verdict = self._verdict(state, blocks, len(labels))
        served = found if verdict.promoted or state is None else state.champion_on_test
        result = RoundResult(
            labels=len(labels),
            **asdict(effort),
            learner=_without_nan(iou(found)),
            served=_without_nan(iou(served)),
            learner_mean_iou=float(mean_iou(found)),
            served_mean_iou=float(mean_iou(served)),
            promoted=verdict.promoted,
            chosen=chosen,
        )
        return _State(
            labels,
            effort,
            segmenter,
            is_better_than_empty(blocks.confusion.sum(axis=0)),
            blocks if verdict.promoted or state is None else state.champion_blocks,
            len(labels) if verdict.promoted or state is None else state.champion_labels,
            served,
            (*(state.rounds if state else ()), result),
        )

    def _verdict(self, state: _State | None, blocks: BlockCounts, labels: int) -> Verdict:
        if state is None:
            return FIRST
        settings = self.settings
        rules = GateRules(settings.gate_confidence, settings.gate_margin, settings.gate_class_margin)
        evidence = compare(blocks, state.champion_blocks, self.region.scheme.names, len(state.rounds), rules)
        return judge(evidence, labels, state.champion_labels)

    def _offer(self, state: _State | None, patch: int) -> NDArray[np.uint8]:
        """Return the mask that the annotator starts from."""
        if state is None or not state.preannotates:
            return np.full_like(self._drawn[patch], BACKGROUND)
        return self._learner.propose(state.learner, patch)

    def _ceiling(self) -> RoundResult:
        """Train on every patch of the pool, drawn exactly, as many steps as all rounds together."""
        segmenter, everything = self._learner.fresh(), dict(enumerate(self._drawn))
        self._learner.train(segmenter, everything, self.config.rounds * self.config.steps, self._round_seed(0))
        found = self._learner.judge("test", segmenter).confusion.sum(axis=0)
        mean, scores = float(mean_iou(found)), _without_nan(iou(found))
        return RoundResult(
            len(everything),
            **asdict(NOTHING),
            learner=scores,
            served=scores,
            learner_mean_iou=mean,
            served_mean_iou=mean,
            promoted=True,
            chosen=list(everything),
        )

    def _candidate(self, patch: int, score: float | None) -> Candidate:
        scene, window = self._places[patch]
        return Candidate(patch, scene, window.row_off, window.col_off, self.region.patch_px, score)

    def _round_seed(self, number: int) -> int:
        return self.seed * 1000 + number


def is_better_than_empty(confusion: NDArray[np.int64]) -> bool:
    """Return whether predictions have a higher mean IoU than a mask of background; as `workers.preannotation`."""
    empty = np.zeros_like(confusion)
    empty[:, BACKGROUND] = confusion.sum(axis=1)
    return bool(mean_iou(confusion) > mean_iou(empty))


def _without_nan(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
