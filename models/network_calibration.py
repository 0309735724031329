"""Calibrate a trained network on validation windows, and measure the calibration on windows that were held out.

The scaling is fitted to the network's own logits, before windows or symmetries are averaged: that is what the ONNX
graph, Monte Carlo dropout and maps have in common.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from models.logit_scaling import LogitScaling, ScalingForm, calibration_errors, fit_scaling, log_loss, possible_form
from models.modes import evaluating, mixed_precision
from models.sampling import LabelledPatches
from models.segmenter import GlacierSegmenter

_FOLDS: Final = 5
_MOST_WINDOWS: Final = 64
_MOST_PIXELS: Final = 4096  # of a window; neighbouring pixels say almost the same
_SEED: Final = 0


@dataclass(frozen=True)
class CalibrationSummary:
    """The calibration of a network, and what it changes.

    Attributes:
        form: What was fitted: a temperature if a class has no judged pixel, whatever was asked for.
        scaling: What was fitted to all windows.
        windows: Number of windows.
        pixels: Number of judged pixels drawn from them.
        errors_before: Expected calibration error of each class without the scaling; NaN where undefined.
        errors_after: The same with scalings fitted to the other windows.
        log_loss_before: Negative log-likelihood without the scaling, nats a pixel.
        log_loss_after: The same with scalings fitted to the other windows.
    """

    form: ScalingForm
    scaling: LogitScaling
    windows: int
    pixels: int
    errors_before: tuple[float, ...]
    errors_after: tuple[float, ...]
    log_loss_before: float
    log_loss_after: float


@dataclass(frozen=True)
class _Sample:
    """Judged pixels: logits (n, L), label values (n,), and the number of their window (n,)."""

    logits: Tensor
    target: Tensor
    window: Tensor


def fit_calibration(
    segmenter: GlacierSegmenter, windows: LabelledPatches, ignore_index: int, form: ScalingForm
) -> CalibrationSummary:
    """Fit the scaling of the logits of a network; measure it by cross-validation over windows.

    Every fifth of the windows is scaled as the other four fitted. The fifths are runs of neighbouring windows, so that
    few held-out pixels lie beside pixels that were fitted to.

    Args:
        segmenter: The trained network, on its device; its calibration is replaced by the one that is fitted.
        windows: Validation windows in reading order; of more than 64, as many evenly spaced.
        ignore_index: Mask value of pixels that nobody judged.
        form: What to fit, as far as possible (`models.logit_scaling.possible_form`).

    Returns:
        The calibration. Without a judged pixel it changes nothing; with those of a single window only, the figures
        afterwards are NaN.
    """
    sample = _draw(segmenter, windows, ignore_index)
    head, precedence = segmenter.head, segmenter.precedence
    fitted = possible_form(sample.logits, sample.target, head, ignore_index, form)
    scaling = fit_scaling(sample.logits, sample.target, head, ignore_index, form)
    segmenter.calibrate(scaling)
    numbers = torch.from_numpy(np.unique(sample.window.numpy()))
    undefined = (math.nan,) * segmenter.classes, math.nan
    before = after = undefined
    if len(sample.target):
        before = (
            calibration_errors(sample.logits, sample.target, head, ignore_index, precedence),
            log_loss(sample.logits, sample.target, head, ignore_index),
        )
    if len(numbers) > 1:
        fold = torch.searchsorted(numbers, sample.window) * _FOLDS // len(numbers)
        scaled = torch.empty_like(sample.logits)
        for held_out in (fold == number for number in sorted(set(fold.tolist()))):
            of_rest = fit_scaling(sample.logits[~held_out], sample.target[~held_out], head, ignore_index, form)
            scaled[held_out] = of_rest(sample.logits[held_out])
        after = (
            calibration_errors(scaled, sample.target, head, ignore_index, precedence),
            log_loss(scaled, sample.target, head, ignore_index),
        )
    return CalibrationSummary(
        fitted, scaling, len(numbers), len(sample.target), before[0], after[0], before[1], after[1]
    )


def _draw(segmenter: GlacierSegmenter, windows: LabelledPatches, ignore_index: int) -> _Sample:
    """Predict the windows one by one, and draw judged pixels of each."""
    generator = torch.Generator().manual_seed(_SEED)
    logits, targets, numbers = [torch.empty(0, segmenter.logits)], [torch.empty(0, dtype=torch.uint8)], []
    count = min(len(windows), _MOST_WINDOWS)
    with evaluating(segmenter), mixed_precision(segmenter.device):
        for number in np.linspace(0, len(windows) - 1, count).round().astype(int).tolist():
            raw, mask = windows[number]
            judged = (mask.flatten() != ignore_index).nonzero()[:, 0]
            chosen = judged[torch.randperm(len(judged), generator=generator)[:_MOST_PIXELS]]
            if len(chosen):
                found = segmenter(raw[None].to(segmenter.device))[0].flatten(1).float().cpu()
                logits.append(found[:, chosen].T)
                targets.append(mask.flatten()[chosen])
            numbers += [number] * len(chosen)
    return _Sample(torch.cat(logits), torch.cat(targets), torch.tensor(numbers, dtype=torch.int64))
