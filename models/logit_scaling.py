"""Calibration of a network by scaling its logits: temperature scaling and vector scaling.

Guo et al. 2017 (On calibration of modern neural networks), section 4.2: a single temperature for all logits, or a scale
and a shift for each, are fitted to held-out labels by maximum likelihood. With a network of one logit z, vector scaling
gives sigmoid(s z + b) (Platt 1999).

A temperature never changes the order of the logits of a pixel, and so never the class that is chosen. Vector scaling
can: it moves the boundary between classes to where both are equally likely, which favours frequent classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from models.heads import Head, Problem, class_probabilities, merge_target, problems

ScalingForm = Literal["temperature", "vector"]

_BINS: Final = 15
_MOST: Final = 20.0  # without a bound, a validation set without any error would have a temperature of 0
_SHAPE: Final = (1, -1, 1)  # pixels are given to the functions of `models.heads` as one image of a single column


@dataclass(frozen=True)
class LogitScaling:
    """The scaling ``scale * logit + shift`` of L logits.

    Attributes:
        scale: (L,) positive; 1 / temperature.
        shift: (L,) 0 for a temperature.
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]

    @classmethod
    def identity(cls, logits: int) -> Self:
        """Return the scaling that changes nothing."""
        return cls((1.0,) * logits, (0.0,) * logits)

    def __call__(self, logits: Tensor) -> Tensor:
        """Scale logits (n, L)."""
        return logits * logits.new_tensor(self.scale) + logits.new_tensor(self.shift)


def possible_form(logits: Tensor, target: Tensor, head: Head, ignore_index: int, form: ScalingForm) -> ScalingForm:
    """Return the form that can be fitted: a temperature if a class of one of the networks has no judged pixel.

    The likelihood would have no maximum in the shift of such a class: the lower, the better, until the class is never
    mapped again.

    Args:
        logits: (n, L) float.
        target: (n,) integer label values.
        head: The head of the network.
        ignore_index: Label value of pixels that nobody judged.
        form: What is wanted.
    """
    for part in _problems(logits, target, head, ignore_index):
        judged = part.target[part.target != ignore_index].long()
        if bool((torch.bincount(judged, minlength=part.logits.shape[1]) == 0).any()):
            return "temperature"
    return form


def fit_scaling(
    logits: Tensor, target: Tensor, head: Head, ignore_index: int, form: ScalingForm = "temperature"
) -> LogitScaling:
    """Fit a scaling by minimising the negative log-likelihood of judged pixels.

    The objective is convex in the scales and shifts, so the minimum found by L-BFGS is the only one.

    Args:
        logits: (n, L) float, not calibrated, of pixels that the network was not trained on.
        target: (n,) integer label values.
        head: The head of the network. With several networks of one logit, each has a temperature of its own.
        ignore_index: Label value of pixels that nobody judged.
        form: What to fit, as far as possible (`possible_form`).

    Returns:
        The scaling, each scale between 1/20 and 20; the identity without a judged pixel.
    """
    count = logits.shape[1]
    judged = target != ignore_index
    if not judged.any():
        return LogitScaling.identity(count)
    logits, target = logits[judged].detach().double(), target[judged]
    form = possible_form(logits, target, head, ignore_index, form)
    free = 1 if form == "temperature" and head == "multiclass" else count
    scale = torch.ones(free, dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(count, dtype=torch.float64, requires_grad=form == "vector")
    fitted = [scale, shift] if form == "vector" else [scale]
    optimiser = torch.optim.LBFGS(fitted, max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        loss = _log_loss(logits * scale + shift, target, head, ignore_index)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    scales = scale.detach().clamp(1.0 / _MOST, _MOST).expand(count)
    return LogitScaling(tuple(scales.tolist()), tuple(shift.detach().tolist()))


def log_loss(logits: Tensor, target: Tensor, head: Head, ignore_index: int) -> float:
    """Return the negative log-likelihood of the judged pixels in nats a pixel, summed over the networks of a head.

    Args:
        logits: (n, L) float.
        target: (n,) integer label values, one of them judged.
        head: The head of the network.
        ignore_index: Label value of pixels that nobody judged.
    """
    return float(_log_loss(logits.double(), target, head, ignore_index))


def _log_loss(logits: Tensor, target: Tensor, head: Head, ignore_index: int) -> Tensor:
    parts = _problems(logits, target, head, ignore_index)
    losses = [F.cross_entropy(part.logits, part.target.long(), ignore_index=ignore_index) for part in parts]
    return torch.stack(losses).sum()


def _problems(logits: Tensor, target: Tensor, head: Head, ignore_index: int) -> list[Problem]:
    return problems(logits.T[None, :, :, None], target.reshape(_SHAPE), head, ignore_index)


def calibration_errors(
    logits: Tensor, target: Tensor, head: Head, ignore_index: int, precedence: Sequence[int] | None = None
) -> tuple[float, ...]:
    """Return the expected calibration error of each class: the mean gap between probability and observed frequency.

    Naeini et al. 2015 (Obtaining well calibrated probabilities using Bayesian binning), each class against the rest
    (Kull et al. 2019, Beyond temperature scaling, "classwise ECE"), with 15 bins of equal width.

    Args:
        logits: (n, L) float.
        target: (n,) integer label values.
        head: The head of the network.
        ignore_index: Label value of pixels that nobody judged.
        precedence: As for :func:`models.heads.class_probabilities`.

    Returns:
        One error in [0, 1] for each of the K classes; NaN without a judged pixel.
    """
    judged = target != ignore_index
    probabilities = class_probabilities(logits[judged].double().T[None, :, :, None], head, precedence)[0, :, :, 0]
    truth = merge_target(target[judged], head, ignore_index)
    return tuple(_calibration_error(of_class, truth == value) for value, of_class in enumerate(probabilities))


def _calibration_error(probability: Tensor, is_class: Tensor) -> float:
    bins = (probability * _BINS).long().clamp(max=_BINS - 1)
    gaps = torch.zeros(_BINS, dtype=torch.float64).index_add_(0, bins, probability - is_class.double())
    return float(gaps.abs().sum() / len(probability)) if len(probability) else float("nan")
