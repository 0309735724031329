from collections import Counter

import pytest
import torch

from models.dropout_masks import draw_masks

WIDTHS = [8, 16, 5]


def dropped(masks, layer: int, width: int) -> list[set[int]]:
    """The maps that each pass drops."""
    return [set(range(width)) - set(kept[layer].tolist()) for kept in masks]


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("passes", [1, 4, 20])
def test_every_map_is_dropped_equally_often_and_every_pass_drops_equally_many(p, passes):
    masks = draw_masks(WIDTHS, p, passes, seed=3)
    assert len(masks) == passes
    for layer, width in enumerate(WIDTHS):
        of_passes = dropped(masks, layer, width)
        counts = Counter(index for one in of_passes for index in one)
        times = [counts[index] for index in range(width)]
        assert max(times) - min(times) <= 1
        sizes = [len(one) for one in of_passes]
        assert max(sizes) - min(sizes) <= 1
        assert abs(sum(sizes) - p * width * passes) <= 1


def test_each_map_is_dropped_with_probability_p():
    """Over 2000 seeds; three standard deviations of a binomial are 0.03."""
    p, seeds = 0.3, 2000
    times = torch.zeros(2, 5)
    for seed in range(seeds):
        for number, kept in enumerate(draw_masks([5], p, 2, seed)):
            times[number] += 1
            times[number, kept[0]] -= 1
    assert ((times / seeds - p).abs() < 0.03).all()


def test_masks_follow_from_the_seed():
    def listed(seed: int) -> list[list[list[int]]]:
        return [[layer.tolist() for layer in kept] for kept in draw_masks(WIDTHS, 0.3, 6, seed)]

    assert listed(1) == listed(1) != listed(2)


def test_layers_and_passes_differ():
    masks = draw_masks([16, 16], 0.5, 2, seed=0)
    as_sets = [frozenset(kept.tolist()) for of_pass in masks for kept in of_pass]
    assert len(set(as_sets)) == 4


def test_a_network_drops_nothing_where_p_is_tiny():
    masks = list(draw_masks([8], 0.01, 10, seed=0))
    assert len(masks) == 10
    assert all(len(kept[0]) >= 7 for kept in masks)
