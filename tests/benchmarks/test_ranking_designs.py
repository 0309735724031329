from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.ranking_designs import DESIGNS, even, latin, outgoing_weights, widths
from models.dropout_masks import Kept
from models.unet import UNet, UNetConfig


@pytest.fixture(scope="module")
def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(in_channels=2, depth=2, width=10, dropout=0.1, normalization="batch"))


def dropped(masks: Sequence[Kept], layer_widths: Sequence[int]) -> list[NDArray[np.bool_]]:
    """Whether each pass drops each map, (T, width) of each layer."""
    found: list[NDArray[np.bool_]] = []
    for layer, width in enumerate(layer_widths):
        table = np.ones((len(masks), width), dtype=bool)
        for number, of_pass in enumerate(masks):
            table[number, of_pass[layer].numpy()] = False
        found.append(table)
    return found


def test_the_dropout_layers_are_those_of_the_blocks(unet: UNet) -> None:
    assert widths(unet) == [10, 20, 40, 20, 10]


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_drops_each_map_with_the_probability_of_the_network(unet: UNet, name: str) -> None:
    tables = dropped(DESIGNS[name](unet, 400, 0), widths(unet))
    assert np.concatenate([table.mean(axis=0) for table in tables]).mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("name", ["balanced", "latin", "even"])
def test_ten_passes_of_a_balanced_design_drop_each_map_once(unet: UNet, name: str) -> None:
    for table in dropped(DESIGNS[name](unet, 20, 3), widths(unet)):
        assert (table[:10].sum(axis=0) == 1).all()
        assert (table[10:].sum(axis=0) == 1).all()


def test_only_the_latin_hypercube_leaves_open_how_many_maps_a_pass_drops(unet: UNet) -> None:
    counts = {name: dropped(DESIGNS[name](unet, 100, 0), widths(unet))[2].sum(axis=1) for name in DESIGNS}
    assert set(counts["balanced"]) == set(counts["even"]) == {4}
    # Binomial(40, 0.1) has the variance 3.6.
    assert counts["latin"].var() == pytest.approx(3.6, abs=1.5)


def test_even_passes_lose_nearly_the_same_weight(unet: UNet) -> None:
    weights = [weight.numpy() for weight in outgoing_weights(unet)]
    lost = {
        name: dropped(DESIGNS[name](unet, 50, 0), widths(unet))[2] @ weights[2]
        for name in ("latin", "balanced", "even")
    }
    assert lost["even"].std() < 0.7 * lost["balanced"].std() < 0.7 * lost["latin"].std()


@pytest.mark.parametrize("design", [latin, even])
def test_a_seed_repeats_and_another_differs(unet: UNet, design: object) -> None:
    assert callable(design)
    one, same, other = (dropped(design(unet, 10, seed), widths(unet)) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))
