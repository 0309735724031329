import pytest
import torch

from models.spatial_dropout import SpatialDropout


def generators(*seeds: int) -> tuple[torch.Generator, ...]:
    return tuple(torch.Generator().manual_seed(seed) for seed in seeds)


def test_whole_maps_are_dropped_and_the_kept_ones_scaled():
    layer = SpatialDropout(0.25).eval()
    layer.generators = generators(1, 2)
    output = layer(torch.ones(2, 40, 3, 5))
    flat = output.flatten(2)
    assert torch.equal(flat.amin(2), flat.amax(2))  # constant over each map
    assert flat.unique().tolist() == pytest.approx([0.0, 4 / 3])


def test_share_of_dropped_maps_is_p():
    layer = SpatialDropout(0.3).eval()
    layer.generators = generators(0)
    dropped = (layer(torch.ones(1, 20_000, 1, 1)) == 0).float().mean().item()
    assert dropped == pytest.approx(0.3, abs=0.01)  # three standard deviations of a binomial


def test_evaluation_mode_is_the_identity():
    maps = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(SpatialDropout(0.5).eval()(maps), maps)


def test_training_mode_follows_the_global_generator_as_torch_does():
    maps = torch.ones(2, 16, 2, 2)
    torch.manual_seed(3)
    ours = SpatialDropout(0.5).train()(maps)
    torch.manual_seed(3)
    assert torch.equal(ours, torch.nn.Dropout2d(0.5).train()(maps))


def test_one_generator_a_sample_is_demanded():
    layer = SpatialDropout(0.5).eval()
    layer.generators = generators(1, 2)
    with pytest.raises(ValueError, match="2 seeds were given for a batch of 3"):
        layer(torch.ones(3, 4, 2, 2))


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_probability_out_of_range_is_refused(p):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
        SpatialDropout(p)
