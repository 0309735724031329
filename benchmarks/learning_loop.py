"""The loop on one region, without services: choose, label, train, judge, as the workers do, with a small network.

The functions are the product's own: the strategies, the measures, the training, the gate. What differs: the network is
small, all is in memory, predictions are not blended from overlapping windows, rounds hold no controls, and a learner
that has gone wrong is not set back. All computes in float32, so that a result depends on the processor only by
rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label

from benchmarks.regions import PATCH_PX, Part, Region
from catalog.candidates import Candidate
from catalog.settings import Settings
from imagery.classes import BACKGROUND, GLACIER_SCHEME, UNKNOWN
from models.block_counts import BlockCounts, SceneBlocks, block_side
from models.gate import FIRST, GateRules, Verdict, compare, judge
from models.inference import predict_windows
from models.mc_dropout import McSampler
from models.measures import profile_patch, score_patch
from models.presets import PRESETS
from models.score_ratios import iou, mean_of_defined
from models.segmenter import GlacierSegmenter, build_segmenter
from models.training import fit
from services import strategies
from services.acquisition import Pool
from services.patch_features import ROW, PatchFeatures, features_of
from services.score_table import ScoreTable, row_type, table_of
from workers.feature_rows import project

EVERY_PATCH: Final = "every_patch"
"""The name of the run that learns all labels of the pool at once: the ceiling."""

_CPU: Final = torch.device("cpu")
_TOGETHER: Final = 16  # patches predicted at once
_CLASSES: Final = len(GLACIER_SCHEME.classes)
_NO_PRIOR_SHARE: Final = 0.0  # no region has prior outlines


@dataclass(frozen=True)
class LoopConfig:
    """Size of the loop.

    Attributes:
        round_size: Patches of a round.
        start_rounds: Rounds drawn at random before a strategy chooses; all strategies share them.
        chosen_rounds: Rounds that a strategy chooses.
        steps: Training steps of a round; the ceiling takes as many as all rounds together.
        depth: Depth of the U-Net.
        width: Its feature maps at full resolution.
        passes: Passes of Monte Carlo dropout.
    """

    round_size: int = 6
    start_rounds: int = 2
    chosen_rounds: int = 4
    steps: int = 100
    depth: int = 3
    width: int = 8
    passes: int = 10


@dataclass(frozen=True)
class RoundResult:
    """What is known after a round.

    Attributes:
        labels: Patches labelled so far.
        edited_pixels: Pixels that the annotator changed so far: of the learner's pre-annotation where it is offered,
            else of an empty mask.
        edited_areas: Connected areas of wrong pixels of one true class so far. Each takes one stroke or more.
        learner: IoU of each class of the version just trained, on the test part; None where undefined.
        served: The same of the version that the gate lets serve.
        learner_mean_iou: Mean over the defined classes.
        served_mean_iou: The same of the served version.
        promoted: Whether the gate let the new version serve.
        chosen: Positions in the pool of the patches of this round.
    """

    labels: int
    edited_pixels: int
    edited_areas: int
    learner: list[float | None]
    served: list[float | None]
    learner_mean_iou: float
    served_mean_iou: float
    promoted: bool
    chosen: list[int]


@dataclass(frozen=True)
class _State:
    """The loop between two rounds; a strategy goes on from a copy of it."""

    labelled: tuple[int, ...]
    edited_pixels: int
    edited_areas: int
    learner: GlacierSegmenter
    preannotates: bool
    champion_blocks: BlockCounts
    champion_labels: int
    champion_iou: NDArray[np.float64]
    rounds: tuple[RoundResult, ...]


class Loop:
    """The loop on one region with one seed."""

    def __init__(self, region: Region, seed: int, config: LoopConfig) -> None:
        self.region, self.seed, self.config = region, seed, config
        self.settings = Settings()
        self.windows = region.windows("pool")
        self._images, self._masks = region.images(self.windows), region.masks(self.windows)
        self._unmasked = np.stack([region.unmasked[window.slices] for window in self.windows])

    @cached_property
    def start(self) -> _State:
        """The state after the random rounds, which all strategies share."""
        state: _State | None = None
        for number in range(self.config.start_rounds):
            taken = state.labelled if state else ()
            candidates = [self._candidate(i, None) for i in range(len(self.windows)) if i not in taken]
            pool = Pool.of(candidates, self.config.round_size, 0.0, self._round_seed(number))
            state = self._label_and_train(state, [choice.patch_id for choice in strategies.get("random").choose(pool)])
        if state is None:
            raise ValueError("found no random round at the start; expected at least 1")
        return state

    def run(self, strategy: str) -> list[RoundResult]:
        """Return the rounds of a strategy, the shared ones at the start included; of `EVERY_PATCH` its only one."""
        if strategy == EVERY_PATCH:
            return [self._ceiling()]
        state = self.start
        for number in range(self.config.chosen_rounds):
            free = [i for i in range(len(self.windows)) if i not in state.labelled]
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
            measured, table, features = self._score(state.learner, seed)
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
            labelled=state.labelled,
        )
        return [choice.patch_id for choice in chosen.choose(pool)]

    def _score(
        self, segmenter: GlacierSegmenter, seed: int
    ) -> tuple[list[dict[str, float]], ScoreTable, PatchFeatures]:
        """Return the measures of every patch of the pool, and the table and features of a scoring."""
        sampler = McSampler(segmenter)
        masks = sampler.draw(self.config.passes, seed)
        measured, rows, features = [], [], []
        for first in range(0, len(self.windows), _TOGETHER):
            sums = sampler.sample(self._images[first : first + _TOGETHER], masks)
            prediction = sums.prediction()
            features += list(project(sums.features().numpy()))
            maps = {name: of_batch.numpy() for name, of_batch in prediction.maps().items()}
            for index, probability in enumerate(prediction.mean_probability.numpy()):
                valid = self._unmasked[first + index]
                found = score_patch({name: of_batch[index] for name, of_batch in maps.items()}, valid)
                profile = profile_patch(probability, maps["predictive_entropy"][index], valid)
                measured.append(found)
                row = (profile.foreground_share, profile.class_entropy, _NO_PRIOR_SHARE)
                rows.append((first + index, False, found["entropy_top10"], *row))
        described = features_of(np.array(list(enumerate(features)), dtype=ROW))
        return measured, table_of(np.array(rows, dtype=row_type(_CLASSES))), described

    def _label_and_train(self, state: _State | None, chosen: list[int]) -> _State:
        """Label the patches, train the next version from the learner, and judge it."""
        pixels, areas = (state.edited_pixels, state.edited_areas) if state else (0, 0)
        for i in chosen:
            offered = self._offer(state, i)
            wrong, of_patch = edits(offered, self._masks[i].numpy())
            pixels, areas = pixels + wrong, areas + of_patch
        labelled = (*(state.labelled if state else ()), *chosen)
        segmenter = self._fresh()
        if state is not None:
            segmenter.load_state_dict(state.learner.state_dict())
        self._train(segmenter, labelled, self.config.steps, self._round_seed(len(state.rounds) if state else 0))
        blocks = self._judge_on("validation", segmenter)
        found = iou(self._judge_on("test", segmenter).confusion.sum(axis=0))
        verdict = self._verdict(state, blocks, len(labelled))
        served = found if verdict.promoted or state is None else state.champion_iou
        result = RoundResult(
            labels=len(labelled),
            edited_pixels=pixels,
            edited_areas=areas,
            learner=_without_nan(found),
            served=_without_nan(served),
            learner_mean_iou=float(mean_of_defined(found)),
            served_mean_iou=float(mean_of_defined(served)),
            promoted=verdict.promoted,
            chosen=chosen,
        )
        return _State(
            labelled,
            pixels,
            areas,
            segmenter,
            is_better_than_empty(blocks.confusion.sum(axis=0)),
            blocks if verdict.promoted or state is None else state.champion_blocks,
            len(labelled) if verdict.promoted or state is None else state.champion_labels,
            served,
            (*(state.rounds if state else ()), result),
        )

    def _verdict(self, state: _State | None, blocks: BlockCounts, labels: int) -> Verdict:
        if state is None:
            return FIRST
        settings = self.settings
        rules = GateRules(settings.gate_confidence, settings.gate_margin, settings.gate_class_margin)
        evidence = compare(blocks, state.champion_blocks, GLACIER_SCHEME.names, len(state.rounds), rules)
        return judge(evidence, labels, state.champion_labels)

    def _offer(self, state: _State | None, patch: int) -> NDArray[np.uint8]:
        """Return the mask that the annotator starts from."""
        if state is None or not state.preannotates:
            return np.full((PATCH_PX, PATCH_PX), BACKGROUND, dtype=np.uint8)
        (probabilities,) = predict_windows(state.learner, [self._images[patch : patch + 1]])
        return state.learner.decide(probabilities[0].numpy())

    def _ceiling(self) -> RoundResult:
        """Train on every patch of the pool, as many steps as all rounds together."""
        rounds = self.config.start_rounds + self.config.chosen_rounds
        segmenter, everything = self._fresh(), tuple(range(len(self.windows)))
        self._train(segmenter, everything, rounds * self.config.steps, self._round_seed(0))
        found = iou(self._judge_on("test", segmenter).confusion.sum(axis=0))
        mean, scores = float(mean_of_defined(found)), _without_nan(found)
        return RoundResult(len(everything), 0, 0, scores, scores, mean, mean, True, list(everything))

    def _fresh(self) -> GlacierSegmenter:
        preset, channels = PRESETS["default"], self.region.channels
        network = preset.network(len(channels), _CLASSES, preset.head)
        network = replace(network, depth=self.config.depth, width=self.config.width)
        mean, std = self.region.statistics
        return build_segmenter(channels, mean, std, network, self.seed, preset.head, preset.input_normalization)

    def _train(self, segmenter: GlacierSegmenter, labelled: Sequence[int], steps: int, seed: int) -> None:
        """Train in place; patches that are all cloud teach nothing and are left out by the training itself."""
        config = replace(PRESETS["default"].training, steps=steps, seed=seed, precision="float32")
        fit(segmenter, [(self._images[i], self._masks[i]) for i in labelled], config, _CPU, UNKNOWN)

    def _judge_on(self, part: Part, segmenter: GlacierSegmenter) -> BlockCounts:
        """Count true and predicted classes of a part by spatial block."""
        whole, windows = self.region.parts[part], self.region.windows(part)
        predicted = np.full(self.region.truth.shape, UNKNOWN, dtype=np.uint8)
        for window, classes in zip(windows, self._predict(segmenter, part), strict=True):
            predicted[window.slices] = classes
        predicted[~self.region.unmasked] = UNKNOWN
        scene = SceneBlocks.empty(whole.shape, _CLASSES, block_side([whole.shape]))
        scene.add(predicted[whole.slices], self.region.truth[whole.slices], 0, UNKNOWN)
        return BlockCounts.of_scenes([scene])

    def _predict(self, segmenter: GlacierSegmenter, part: Part) -> Iterator[NDArray[np.uint8]]:
        windows = self.region.windows(part)
        batches = (self.region.images(windows[at : at + _TOGETHER]) for at in range(0, len(windows), _TOGETHER))
        for probabilities in predict_windows(segmenter, batches):
            yield from map(segmenter.decide, probabilities.numpy())

    def _candidate(self, patch: int, score: float | None) -> Candidate:
        window = self.windows[patch]
        return Candidate(patch, 1, window.row_off, window.col_off, PATCH_PX, score)

    def _round_seed(self, number: int) -> int:
        return self.seed * 1000 + number


def edits(offered: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> tuple[int, int]:
    """Return how many pixels an annotator changes, and in how many connected areas of one class.

    Args:
        offered: (h, w) the mask to start from.
        drawn: (h, w) the mask to end with; unknown pixels cost nothing, since clouds are masked already.
    """
    wrong = (offered != drawn) & (drawn != UNKNOWN)
    areas = sum(label(wrong & (drawn == entry.value))[1] for entry in GLACIER_SCHEME.classes)
    return int(wrong.sum()), int(areas)


def is_better_than_empty(confusion: NDArray[np.int64]) -> bool:
    """Return whether predictions have a higher mean IoU than a mask of background; as `workers.preannotation`."""
    empty = np.zeros_like(confusion)
    empty[:, BACKGROUND] = confusion.sum(axis=1)
    return bool(mean_of_defined(iou(confusion)) > mean_of_defined(iou(empty)))


def as_cell(
    region: Region, strategy: str, seed: int, config: LoopConfig, rounds: Sequence[RoundResult]
) -> dict[str, Any]:
    """Return the result of a strategy as JSON."""
    return {
        "region": region.name,
        "strategy": strategy,
        "seed": seed,
        "config": asdict(config),
        "rounds": [asdict(result) for result in rounds],
    }


def _without_nan(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
