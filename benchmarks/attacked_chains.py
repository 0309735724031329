"""Rounds of real fine-tunes in which labels are attacked, with the gate and the learner's set-back as in the product.

A chain is a region, a seed and a kind of bad labels. Each round labels six patches of the pool, four of them with ice
where there are any left, and a small network learns all labels so far. In the rounds of `ATTACKED` half of the patches
are labelled badly (`benchmarks.imperfect_labels`). As in the product (`workers.fine_tune`, `workers.conclusion`)
training goes on from the learner; the gate compares the calibrated version with the champion on validation ground; and
the champion becomes the learner if two versions in a row are worse than it. Bad labels stay: nobody withdraws them.

Kept of each version: counts on validation and test ground by block, so that other gates can be replayed, and how much
the champion, the parent and the version itself doubt each label, so that ways to find the bad labels can be compared.
One file holds a chain; a stopped run goes on after the last chain that was written.
"""

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks import regions
from benchmarks.imperfect_labels import ATTACKS
from catalog.settings import Settings
from experiments.learner import TOGETHER, Learner, LoopConfig
from experiments.region import Region
from imagery.classes import BACKGROUND, UNKNOWN
from models.block_counts import BlockCounts
from models.gate import FIRST, GateRules, Verdict, compare, judge, without_margin_if_doubted
from models.inference import predict_windows
from models.label_doubt import STANDS_OUT
from models.network_calibration import fit_calibration
from models.segmenter import GlacierSegmenter

ROUND_SIZE: Final = 6
WITH_ICE: Final = 4
ROUNDS: Final = 8
ATTACKED: Final = (2, 3, 5, 6)
"""Numbers of the attacked rounds: two in a row, so that the learner may be set back, then an honest one."""
BAD: Final = 3
"""Bad labels of an attacked round."""
LEAST_CHANGE: Final = 0.02
"""Share of the pixels that a bad label must name wrongly; where the attack changes less, the label stays honest."""
STEPS: Final = 60
CONFIDENT: Final = 0.9
"""Probability from which on a prediction is confident."""
KINDS: Final = tuple(ATTACKS)
REGIONS: Final = (
    *("everest-west", "everest-north", "baltoro", "exploradores", "hintereisferner"),
    *("common-ice", "much-debris", "rare-ice-noisy", "oetztal"),
)


@dataclass(frozen=True)
class Chain:
    """Which rounds are simulated.

    Attributes:
        region: One of `benchmarks.regions.SPECS`.
        kind: One of `KINDS`.
        seed: Of weights, patches and attacks.
    """

    region: str
    kind: str
    seed: int

    @property
    def file_name(self) -> str:
        """Name of the file that holds the chain."""
        return f"{self.region}_{self.kind}_{self.seed}.json"


@dataclass(frozen=True)
class AttackedLabel:
    """A label of a round, which may be bad.

    Attributes:
        mask: (h, w) what is learnt.
        changed: Share of its known pixels that the attack changed; 0 for an honest label.
        since: Number of its round.
    """

    mask: NDArray[np.uint8]
    changed: float
    since: int


@dataclass(frozen=True)
class Figures:
    """What a network finds in a label, over the pixels with a known class.

    Attributes:
        loss: Mean negative log-likelihood, nats.
        entropy: Mean entropy of the prediction, nats: the loss that a calibrated network expects.
        differs: Share of the pixels that are predicted otherwise, in [0, 1].
        contradicted: Share of the pixels that are predicted otherwise with confidence, in [0, 1].
    """

    loss: float
    entropy: float
    differs: float
    contradicted: float


@dataclass
class _Track:
    """A version with what the gate needs of it."""

    network: GlacierSegmenter
    blocks: BlockCounts
    labels: int
    number: int


def figures(
    probabilities: NDArray[np.floating], predicted: NDArray[np.uint8], label: NDArray[np.uint8]
) -> Figures | None:
    """Return what a network finds in a label; None if the label names no class anywhere.

    Args:
        probabilities: (K, h, w) calibrated probabilities.
        predicted: (h, w) the classes that the network decides for.
        label: (h, w) the classes of the label.
    """
    known = label != UNKNOWN
    if not known.any():
        return None
    found = np.clip(probabilities[:, known].astype(np.float64), 1e-6, 1.0)
    named = label[known]
    differs = predicted[known] != named
    return Figures(
        loss=float(-np.log(np.take_along_axis(found, named[None].astype(np.int64), axis=0)).mean()),
        entropy=float(-(found * np.log(found)).sum(axis=0).mean()),
        differs=float(differs.mean()),
        contradicted=float((differs & (found.max(axis=0) >= CONFIDENT)).mean()),
    )


def excess_loss(row: Mapping[str, Any]) -> float:
    """Return the figure by which the product names labels: see `models.label_doubt.doubt`."""
    return float(row["champion"]["loss"] - row["champion"]["entropy"])


def new_labels(doubts: Sequence[Mapping[str, Any]], champion: int) -> list[Mapping[str, Any]]:
    """Return the rows of the labels that name a class and that a champion had not learnt."""
    return [row for row in doubts if row["since"] > champion and row["champion"]]


def doubted_share(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the share of labels that stand out, in [0, 1]."""
    return sum(excess_loss(row) > STANDS_OUT for row in rows) / len(rows) if rows else 0.0


def chains(seeds: Sequence[int]) -> list[Chain]:
    """Return the chains of some seeds: any first ones hold all kinds and regions about equally often."""
    return [
        Chain(region, KINDS[(number + offset) % len(KINDS)], seed)
        for seed in seeds
        for offset in range(len(KINDS))
        for number, region in enumerate(REGIONS)
    ]


def run_chain(folder: Path, region_folder: Path, chain: Chain) -> dict[str, Any]:
    """Return the versions of a chain, from its file if it was simulated before.

    Args:
        folder: Holds the files of finished chains.
        region_folder: Holds the regions.
        chain: Which rounds.
    """
    file = folder / chain.file_name
    if not file.exists():
        found = {**asdict(chain), "versions": _simulate(regions.load(chain.region, region_folder), chain)}
        folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
        partial.rename(file)
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return kept


def _simulate(region: Region, chain: Chain) -> list[dict[str, Any]]:
    simulation = _Simulation(region, chain.seed)
    generator = np.random.default_rng([chain.seed, 1])
    honest = region.masks("pool").numpy()
    labels: dict[int, AttackedLabel] = {}
    for number, patches in enumerate(_rounds(honest, chain.seed)):
        left = BAD if number in ATTACKED else 0
        for patch in patches:
            mask = honest[patch]
            bad = ATTACKS[chain.kind](mask, generator) if left else mask
            changed = _changed(bad, mask)
            if changed < LEAST_CHANGE:
                bad, changed = mask, 0.0
            left -= changed > 0
            labels[patch] = AttackedLabel(bad, changed, number)
        simulation.fine_tune(labels)
    return simulation.versions


def _rounds(masks: NDArray[np.uint8], seed: int) -> list[list[int]]:
    """Return the patches of each round; the last ones are missing if the pool is too small."""
    has_ice = ((masks != BACKGROUND) & (masks != UNKNOWN)).any(axis=(1, 2))
    order = np.random.default_rng(seed).permutation(len(masks))
    with_ice, without = order[has_ice[order]].tolist(), order[~has_ice[order]].tolist()
    rounds: list[list[int]] = []
    while len(with_ice) + len(without) >= ROUND_SIZE and len(rounds) < ROUNDS:
        ice = min(max(WITH_ICE, ROUND_SIZE - len(without)), len(with_ice))
        rounds.append([*with_ice[:ice], *without[: ROUND_SIZE - ice]])
        with_ice, without = with_ice[ice:], without[ROUND_SIZE - ice :]
    return rounds


def _changed(label: NDArray[np.uint8], honest: NDArray[np.uint8]) -> float:
    known = honest != UNKNOWN
    return float((label != honest)[known].mean()) if known.any() else 0.0


class _Simulation:
    """The two tracks on a region, from version to version."""

    def __init__(self, region: Region, seed: int) -> None:
        self.versions: list[dict[str, Any]] = []
        self._region, self._seed, self._settings = region, seed, Settings()
        self._learner = Learner(region, seed, LoopConfig(steps=STEPS))
        images, masks = region.images("validation"), region.masks("validation", drawn=False)
        self._validation = list(zip(images, masks, strict=True))
        self._champion: _Track | None = None
        self._parent: _Track | None = None
        self._worse_in_a_row = 0

    def fine_tune(self, labels: dict[int, AttackedLabel]) -> None:
        """Train the next version, judge it, move the tracks, and keep the figures."""
        number = len(self.versions)
        network = copy.deepcopy(self._parent.network) if self._parent else self._learner.fresh()
        masks = {patch: label.mask for patch, label in labels.items()}
        self._learner.train(network, masks, STEPS, self._seed * 1000 + number)
        if self._settings.calibration != "none":
            fit_calibration(network, self._validation, UNKNOWN, self._settings.calibration)
        new = _Track(network, self._learner.judge("validation", network), len(labels), number)
        champion, parent = self._champion, self._parent
        doubts = self._doubts(labels, champion, parent, new) if champion and parent else []
        verdict = self._verdict(new, doubts)
        self.versions.append(
            {
                "labels": len(labels),
                "attacked": number in ATTACKED,
                "champion": champion.number if champion else None,
                "parent": parent.number if parent else None,
                "promoted": verdict.promoted,
                "outcome": verdict.evidence.mean_iou.outcome if verdict.evidence else None,
                "validation": new.blocks.model_dump(),
                "test": self._learner.judge("test", network).model_dump(),
                "doubts": doubts,
            }
        )
        self._move(new, verdict)

    def _verdict(self, new: _Track, doubts: Sequence[Mapping[str, Any]]) -> Verdict:
        if self._champion is None:
            return FIRST
        settings, champion = self._settings, self._champion
        rules = GateRules(settings.gate_confidence, settings.gate_margin, settings.gate_class_margin)
        rules = without_margin_if_doubted(
            rules, doubted_share(new_labels(doubts, champion.number)), settings.gate_most_doubted
        )
        evidence = compare(new.blocks, champion.blocks, self._region.scheme.names, champion.number, rules)
        return judge(evidence, new.labels, champion.labels)

    def _move(self, new: _Track, verdict: Verdict) -> None:
        """Move champion and learner as `workers.conclusion` does."""
        worse = verdict.evidence is not None and verdict.evidence.mean_iou.outcome == "worse"
        self._worse_in_a_row = self._worse_in_a_row + 1 if worse and not verdict.promoted else 0
        if verdict.promoted:
            self._champion = new
        set_back = self._worse_in_a_row >= 2
        self.versions[-1]["set back"] = set_back
        if set_back:
            self._worse_in_a_row = 0
        self._parent = self._champion if set_back else new

    def _doubts(
        self, labels: dict[int, AttackedLabel], champion: _Track, parent: _Track, new: _Track
    ) -> list[dict[str, Any]]:
        """Return a row for each label: what it is, and how much each network doubts it."""
        tracks = {"champion": champion.network, "parent": parent.network, "new": new.network}
        predicted = {name: self._predict(network, list(labels)) for name, network in tracks.items()}
        influence = self._influences(champion.network, labels)
        rows = []
        for index, (patch, label) in enumerate(labels.items()):
            row: dict[str, Any] = {"patch": patch, "since": label.since, "changed": label.changed}
            for name, network in tracks.items():
                probability = predicted[name][index]
                found = figures(probability, network.decide(probability), label.mask)
                row[name] = asdict(found) if found else None
            rows.append({**row, "influence": influence[index]})
        return rows

    def _predict(self, network: GlacierSegmenter, patches: Sequence[int]) -> NDArray[np.float32]:
        batches = [self._learner.images[list(patches[at : at + TOGETHER])] for at in range(0, len(patches), TOGETHER)]
        return np.concatenate([found.numpy() for found in predict_windows(network, batches)])

    def _influences(self, network: GlacierSegmenter, labels: dict[int, AttackedLabel]) -> list[float | None]:
        """Return the cosine of the gradients of each label's loss and of the loss on validation ground.

        A step against the gradient of a label raises the loss on validation ground where it is negative (TracIn:
        Pruthi et al. 2020, "Estimating training data influence by tracing gradient descent", NeurIPS).
        """
        network.eval()
        images, masks = (torch.stack(list(part)) for part in zip(*self._validation, strict=True))
        towards = _gradient(network, images, masks)
        found = []
        for patch, label in labels.items():
            gradient = _gradient(network, self._learner.images[patch : patch + 1], torch.from_numpy(label.mask)[None])
            size = towards.norm() * gradient.norm()
            found.append(float(towards @ gradient / size) if size > 0 else None)
        return found


def _gradient(network: GlacierSegmenter, images: Tensor, masks: Tensor) -> Tensor:
    if not (masks != UNKNOWN).any():
        return torch.zeros(sum(weights.numel() for weights in network.parameters()))
    loss = F.cross_entropy(network(images), masks.long(), ignore_index=UNKNOWN)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])
