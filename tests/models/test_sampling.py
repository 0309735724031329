import pytest
import torch

from models.losses import class_weights
from models.presets import PRESETS
from models.sampling import count_pixels, expected_counts, patch_weights, random_symmetry

IGNORE = 255


def patch(values: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.tensor(values, dtype=torch.uint8)
    return torch.zeros(2, *mask.shape), mask


def test_judged_pixels_are_counted_by_patch_and_class():
    dataset = [patch([[0, 0], [1, IGNORE]]), patch([[2, 2], [2, 2]]), patch([[IGNORE, IGNORE]] * 2)]
    assert count_pixels(dataset, 2, 3, IGNORE).tolist() == [[2, 1, 0], [0, 0, 4], [0, 0, 0]]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([], "the dataset is empty"),
        ([patch([[IGNORE]])], "no pixel of the 1 patches was judged"),
        ([patch([[0]]), patch([[7]])], r"mask of patch 1 holds the values \[7\]"),
        ([(torch.zeros(3, 1, 1), torch.zeros(1, 1))], r"patch 0 has shape \(3, 1, 1\)"),
        ([(torch.zeros(2, 1, 2), torch.zeros(2, 1))], r"mask of shape \(2, 1\)"),
        ([patch([[0]]), patch([[0, 1]])], r"patch 1 has shape \(2, 1, 2\).*expected \(2, 1, 1\) and \(1, 1\)"),
    ],
)
def test_unusable_patches_are_refused(dataset, message):
    with pytest.raises(ValueError, match=message):
        count_pixels(dataset, 2, 3, IGNORE)


def test_a_binary_head_counts_clean_and_debris_covered_ice_together():
    dataset = [patch([[0, 1], [2, IGNORE]]), patch([[2, 2], [1, 1]])]
    assert count_pixels(dataset, 2, 2, IGNORE, "binary", 3).tolist() == [[1, 2], [0, 4]]


def test_a_wrong_value_does_not_pass_for_glacier_in_a_binary_head():
    with pytest.raises(ValueError, match=r"mask of patch 0 holds the values \[0, 7\]; expected 0 to 2, or 255"):
        count_pixels([patch([[0, 7]])], 2, 2, IGNORE, "binary", 3)


def test_patches_with_a_rare_class_are_drawn_more_often():
    """Class 2 has 2 % of the pixels, so it weighs 5; the patch without a judged pixel is never drawn."""
    counts = torch.tensor([[500, 0, 0], [400, 80, 0], [0, 0, 20], [0, 0, 0]])
    assert patch_weights(counts, balance=True).tolist() == pytest.approx([1, 1.25, 5, 0])
    assert patch_weights(counts, balance=False).tolist() == [1, 1, 1, 0]


def test_nothing_is_favoured_when_every_class_is_common():
    counts = torch.tensor([[50, 40, 10], [50, 30, 20]])
    assert patch_weights(counts, balance=True).tolist() == [1, 1]


def test_class_weights_follow_what_the_sampling_shows():
    """Drawn five times as often, the rare class is at 5 * 20 / (5 * 20 + 900) = 10 %, and needs no weight."""
    counts = torch.tensor([[900, 0], [0, 20]])
    assert class_weights(expected_counts(counts, torch.tensor([1.0, 5.0])).tolist()).tolist() == [1, 1]
    assert class_weights(expected_counts(counts, torch.tensor([1.0, 1.0])).tolist())[1].item() == pytest.approx(
        0.1 * 920 / 20
    )


def test_symmetries_are_the_eight_of_the_square_and_mask_and_image_stay_together():
    raw = torch.arange(9.0).reshape(1, 3, 3)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(200):
        turned, mask = random_symmetry(raw, raw[0].to(torch.uint8), generator)
        assert torch.equal(turned[0], mask.float())
        seen.add(tuple(turned.flatten().tolist()))
    rotations = [torch.rot90(raw[0], turns) for turns in range(4)]
    expected = [*rotations, *(rotation.T for rotation in rotations)]
    assert seen == {tuple(symmetry.flatten().tolist()) for symmetry in expected}
    assert len(seen) == 8


def test_only_a_share_of_the_patches_is_changed():
    """Aryal's 15 %: an eighth of the symmetries that are applied changes nothing."""
    raw = torch.arange(9.0).reshape(1, 3, 3)
    generator = torch.Generator().manual_seed(0)
    share = PRESETS["aryal"].training.augmented_share
    mask = raw[0].to(torch.uint8)
    changed = [not torch.equal(random_symmetry(raw, mask, generator, share)[0], raw) for _ in range(4000)]
    assert sum(changed) / 4000 == pytest.approx(0.15, abs=0.02)  # three standard deviations are 0.017


def test_quarter_turns_need_square_patches():
    with pytest.raises(ValueError, match=r"2 x 3 px cannot be turned.*augment=False"):
        random_symmetry(torch.zeros(1, 2, 3), torch.zeros(2, 3), torch.Generator())


def test_turn_by_270_degrees_is_no_transpose():
    """Trap: Aryal's Rot270 transposes. A patch without symmetry tells all four turns and their mirrors apart."""
    raw = torch.arange(9.0).reshape(1, 3, 3)
    generator = torch.Generator().manual_seed(0)
    turned = [random_symmetry(raw, raw[0].to(torch.uint8), generator)[0][0].tolist() for _ in range(200)]
    assert [[2, 5, 8], [1, 4, 7], [0, 3, 6]] in turned
    assert [[6, 3, 0], [7, 4, 1], [8, 5, 2]] in turned
