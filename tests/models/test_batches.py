"""Batches of labelled and weak patches."""

import pytest
import torch

from models.batches import Augmentation, Batch, Batches
from models.training import StepReport, fit
from models.training_config import TrainingConfig
from models.weak_masks import AMBIGUOUS, as_outlined, as_predicted
from tests.models.networks import small_segmenter
from tests.models.test_training import CPU, IGNORE, bright_is_ice, weights_of

CONFIG = TrainingConfig(steps=6, precision="float32")


def patches(value: int, count: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Patches that tell where they come from: all pixels of the mask have one value."""
    return [(raw, torch.full_like(mask, value)) for raw, mask in bright_is_ice(count)]


def batches_of(labelled, weak, share: float) -> Batches:
    return Batches(small_segmenter(), labelled, weak, share, IGNORE, balance=False, device=CPU)


def weights_after(weak, share: float, labelled=None) -> torch.Tensor:
    segmenter = small_segmenter()
    dataset = bright_is_ice() if labelled is None else labelled
    fit(segmenter, dataset, CONFIG, CPU, IGNORE, weak_patches=weak, weak_share=share)
    return weights_of(segmenter)


def test_the_share_of_a_batch_is_weak_and_comes_last() -> None:
    batches, generator = batches_of(patches(1), patches(2), 0.25), torch.Generator().manual_seed(0)
    weak = 0
    for _ in range(100):
        batch = batches.draw(8, Augmentation(0.0), generator)
        assert batch.mask.amax(dim=(1, 2)).tolist() == [1] * batch.labelled + [2] * (8 - batch.labelled)
        weak += 8 - batch.labelled
    assert weak / 800 == pytest.approx(0.25, abs=0.05)  # three standard errors


def test_the_loss_is_the_mean_of_both_parts_by_their_patches() -> None:
    batches = batches_of(patches(1), patches(2), 0.5)
    batch = Batch(torch.zeros(4, 2, 8, 8), torch.tensor([1, 2, 2, 2])[:, None, None].expand(4, 8, 8), labelled=1)

    def value(logits, mask, weights, weak) -> torch.Tensor:
        return mask.float().mean() + (10.0 if weak else 0.0)

    assert float(batches.loss(value, torch.zeros(4, 3, 8, 8), batch)) == (1 * 1.0 + 3 * 12.0) / 4


def test_without_weak_patches_nothing_changes() -> None:
    alone = weights_after(None, 0.0)
    assert torch.equal(alone, weights_after(patches(2), 0.0))
    assert not torch.equal(alone, weights_after(patches(2), 0.5))


def test_weak_patches_teach_without_any_label() -> None:
    segmenter, config = small_segmenter(dropout=0.05), TrainingConfig(steps=60, precision="float32", learning_rate=1e-2)
    losses = fit(segmenter, [], config, CPU, IGNORE, weak_patches=bright_is_ice(), weak_share=0.5)
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_labels_without_a_judged_pixel_do_not_keep_weak_patches_from_teaching() -> None:
    """Everything that was labelled lies under cloud: batches are weak altogether, as without labels."""
    batches = batches_of(patches(IGNORE), patches(1), share=0.25)
    assert batches.draw(8, Augmentation(0.0), torch.Generator().manual_seed(0)).labelled == 0
    with pytest.raises(ValueError, match="no pixel of the 3 patches was judged"):
        batches_of(patches(IGNORE), None, share=0.25)


def test_a_training_with_weak_patches_resumes_bit_for_bit() -> None:
    taken = []

    def on_step(report: StepReport) -> None:
        if report.step == 2:
            taken.append(report.state())

    whole, resumed = small_segmenter(), small_segmenter()
    weak = {"weak_patches": patches(AMBIGUOUS + 1), "weak_share": 0.5}
    fit(whole, bright_is_ice(), CONFIG, CPU, IGNORE, on_step, **weak)
    fit(resumed, bright_is_ice(), CONFIG, CPU, IGNORE, resume_from=taken[0], **weak)
    assert torch.equal(weights_of(whole), weights_of(resumed))


def test_ambiguous_pixels_take_the_networks_own_foreground_class() -> None:
    mask = torch.tensor([[[0, 1, AMBIGUOUS + 1, AMBIGUOUS + 1, IGNORE]]], dtype=torch.uint8)
    probabilities = torch.tensor([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.8, 0.05, 0.15], [0.8, 0.15, 0.05], [0, 0, 1]])
    assert as_predicted(mask, probabilities.T[None, :, None], IGNORE).tolist() == [[[0, 1, 2, 1, IGNORE]]]
    assert as_outlined(mask, IGNORE).tolist() == [[[0, 1, 1, 1, IGNORE]]]


def test_ambiguous_pixels_are_as_outlined_until_there_are_labels() -> None:
    ambiguous = [(raw, torch.full_like(mask, AMBIGUOUS + 1)) for raw, mask in bright_is_ice()]
    assert torch.equal(weights_after(ambiguous, 1.0, labelled=[]), weights_after(patches(1, 6), 1.0, labelled=[]))
    assert not torch.equal(weights_after(ambiguous, 0.5), weights_after(patches(1, 6), 0.5))


@pytest.mark.parametrize("head", ["binary", "two_binaries"])
def test_every_head_learns_from_ambiguous_pixels(head) -> None:
    segmenter = small_segmenter(head=head)
    before = weights_of(segmenter)
    fit(segmenter, bright_is_ice(), CONFIG, CPU, IGNORE, weak_patches=patches(AMBIGUOUS + 1), weak_share=0.5)
    assert torch.isfinite(weights_of(segmenter)).all()
    assert not torch.equal(before, weights_of(segmenter))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_of_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        batches_of(patches(1), patches(2), share)
