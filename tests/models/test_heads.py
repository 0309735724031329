import numpy as np
import pytest
import torch

from models.heads import (
    class_probabilities,
    decide,
    head_classes,
    logits_per_network,
    merge_truth,
    output_classes,
    problem_counts,
    problems,
)

IGNORE = 255
NAMES = ("background", "clean ice", "debris-covered ice")
LABELS = torch.tensor([[[0, 1, 2, IGNORE]]], dtype=torch.uint8)


def logit(probability: float) -> float:
    return float(torch.logit(torch.tensor(probability, dtype=torch.float64)))


def two_binaries(clean: float, debris: float) -> torch.Tensor:
    """Probabilities (3,) that the two networks' outputs combine to."""
    logits = torch.tensor([logit(clean), logit(debris)], dtype=torch.float64).reshape(1, 2, 1, 1)
    return class_probabilities(logits, "two_binaries").flatten()


def test_two_binaries_are_combined_with_debris_first():
    """c = 0.8, d = 0.25: debris 0.25, clean 0.75 * 0.8 = 0.6, background 0.75 * 0.2 = 0.15."""
    assert two_binaries(0.8, 0.25).tolist() == pytest.approx([0.15, 0.6, 0.25])


@pytest.mark.parametrize(("clean", "debris", "winner"), [(0, 0, 0), (1, 0, 1), (0, 1, 2), (1, 1, 2)])
def test_hard_masks_of_two_binaries_are_combined_with_debris_winning(clean, debris, winner):
    """The case of certain networks is Aryal's rule for masks exactly."""
    logits = torch.tensor([clean, debris]).mul(400.0).sub(200.0).reshape(1, 2, 1, 1)
    probability = class_probabilities(logits, "two_binaries")[0]
    assert probability.flatten().tolist() == [float(value == winner) for value in range(3)]
    assert decide(probability.numpy(), "two_binaries").item() == winner


def test_two_binaries_decide_by_each_network_not_by_the_most_probable_class():
    probability = two_binaries(0.55, 0.4)  # background 0.27, clean 0.33, debris 0.4
    assert probability.argmax() == 2
    assert decide(probability.numpy()[:, None, None], "two_binaries").item() == 1


def test_decision_of_two_binaries_is_recovered_from_the_three_probabilities():
    generator = np.random.default_rng(0)
    clean, debris = generator.random((2, 40, 40))
    combined = np.stack([(1 - debris) * (1 - clean), (1 - debris) * clean, debris])
    expected = np.where(debris >= 0.5, 2, np.where(clean >= 0.5, 1, 0))
    np.testing.assert_array_equal(decide(combined, "two_binaries"), expected)


def three_networks(outputs: list[float], precedence: list[int]) -> torch.Tensor:
    """Probabilities (4,) that three networks' outputs combine to."""
    logits = torch.tensor([logit(output) for output in outputs], dtype=torch.float64).reshape(1, 3, 1, 1)
    return class_probabilities(logits, "two_binaries", precedence).flatten()


def test_precedence_decides_which_of_several_networks_wins():
    """Outputs 0.5, 0.4, 0.2 of the classes 1, 2, 3; 1 wins over 3, and 3 over 2.

    P(1) = 0.5, P(3) = 0.5 * 0.2 = 0.1, P(2) = 0.5 * 0.8 * 0.4 = 0.16, and 0.5 * 0.8 * 0.6 = 0.24 is left.
    """
    assert three_networks([0.5, 0.4, 0.2], [2, 3, 1]).tolist() == pytest.approx([0.24, 0.5, 0.16, 0.1])


@pytest.mark.parametrize("precedence", [[1, 2, 3], [2, 3, 1], [3, 1, 2]])
def test_several_networks_decide_by_themselves_and_the_highest_precedence_wins(precedence):
    generator = np.random.default_rng(1)
    outputs = generator.random((3, 30, 30))
    logits = torch.logit(torch.from_numpy(outputs))[None]
    probability = class_probabilities(logits, "two_binaries", precedence)[0].numpy()
    expected = np.zeros((30, 30))
    for value in precedence:
        expected[outputs[value - 1] >= 0.5] = value
    np.testing.assert_array_equal(decide(probability, "two_binaries", precedence), expected)
    np.testing.assert_allclose(probability.sum(axis=0), 1.0)


@pytest.mark.parametrize("head", ["multiclass", "binary", "two_binaries"])
def test_probabilities_sum_to_one(head):
    logits = 30 * torch.randn(2, {"multiclass": 3, "binary": 1, "two_binaries": 2}[head], 4, 5)
    probability = class_probabilities(logits, head)
    assert (
        probability.shape[1]
        == output_classes(head, logits_per_network(head, 3), 2)
        == len(head_classes(head, NAMES, "glacier"))
    )
    torch.testing.assert_close(probability.sum(1), torch.ones(2, 4, 5))


def test_binary_probability_is_the_sigmoid_of_its_logit():
    logits = torch.tensor([-2.0, 0.0, 3.0]).reshape(1, 1, 1, 3)
    probability = class_probabilities(logits, "binary")
    torch.testing.assert_close(probability[:, 1:], logits.sigmoid())
    assert decide(probability[0].numpy(), "binary").tolist() == [[0, 1, 1]]


def test_multiclass_decides_for_the_most_probable_class():
    assert decide(np.array([0.2, 0.5, 0.3]).reshape(3, 1, 1), "multiclass").item() == 1


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("multiclass", [[0, 1, 2, IGNORE]]),
        ("binary", [[0, 1, 1, IGNORE]]),
        ("two_binaries", [[0, 1, 0, IGNORE], [0, 0, 1, IGNORE]]),
    ],
)
def test_targets_of_a_head_keep_the_ignored_pixels(head, expected):
    logits = torch.zeros(1, {"multiclass": 3, "binary": 1, "two_binaries": 2}[head], 1, 4)
    assert [part.target.flatten().tolist() for part in problems(logits, LABELS, head, IGNORE)] == expected


@pytest.mark.parametrize(("head", "networks"), [("binary", 1), ("two_binaries", 2)])
def test_one_logit_becomes_the_softmax_pair_zero_and_z(head, networks):
    logits = torch.randn(1, networks, 1, 4)
    for index, part in enumerate(problems(logits, LABELS, head, IGNORE)):
        assert torch.equal(part.logits, torch.stack([torch.zeros(1, 1, 4), logits[:, index]], dim=1))


def test_counts_of_two_binaries_are_of_each_class_against_the_rest():
    counts = torch.tensor([70.0, 20.0, 10.0])
    assert [part.tolist() for part in problem_counts(counts, "two_binaries")] == [[80, 20], [90, 10]]
    assert problem_counts(counts, "multiclass") == [counts]


def test_truth_for_a_binary_head_is_glacier_of_either_kind():
    mask = LABELS[0].numpy()
    assert merge_truth(mask, "binary", IGNORE).tolist() == [[0, 1, 1, IGNORE]]
    assert merge_truth(mask, "binary", IGNORE).dtype == np.uint8
    assert merge_truth(mask, "two_binaries", IGNORE) is mask


def test_binary_classes_are_background_and_glacier():
    assert head_classes("binary", NAMES, "glacier") == ("background", "glacier")
    assert head_classes("two_binaries", NAMES, "glacier") == NAMES


@pytest.mark.parametrize(("head", "logits"), [("multiclass", 1), ("binary", 3), ("two_binaries", 2)])
def test_head_that_does_not_go_with_the_network_is_refused(head, logits):
    with pytest.raises(ValueError, match="binary heads take networks of a single logit"):
        output_classes(head, logits, 2)
