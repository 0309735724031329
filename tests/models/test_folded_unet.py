import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.channel_pruned_unet import ChannelPrunedUNet
from models.dropout_masks import draw_masks
from models.folded_unet import fold
from models.unet import UNet, UNetConfig


def random_unet(**settings) -> UNet:
    """Two levels of four maps; the biases, which are 0 when fresh, too are random."""
    generator = torch.Generator().manual_seed(0)
    unet = UNet(UNetConfig(in_channels=2, depth=2, width=4, **settings))
    for parameter in unet.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return unet.eval()


def random_maps(*shape: int) -> torch.Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5)])
def test_upsampling_and_convolution_in_one_are_what_they_are_in_two(height, width):
    """To the edges of the image, where the convolution sees padding, and no bias of the upsampling."""
    unet = random_unet()
    below, skip = random_maps(8, height, width), random_maps(4, 2 * height, 2 * width)
    engine = ChannelPrunedUNet(unet, unet.config.dropout)
    junction = engine.prune(draw_masks(engine.widths, 0.0, 1, 0)[0]).up[-1][0]
    upsampled = unet.upsamplers[-1](below)
    expected = F.relu(unet.decoder[-1][0](torch.cat([upsampled, skip], dim=1)) / (1 - 0.3))
    with torch.no_grad():
        torch.testing.assert_close(engine._join(junction, below, skip), expected.detach(), atol=1e-5, rtol=1e-5)


def test_rows_and_columns_are_chosen():
    convolution = fold(random_unet(), 0.3).down[1][1]
    kept, dropped = torch.tensor([0, 2, 7]), torch.tensor([1, 3, 4, 5, 6])
    torch.testing.assert_close(convolution.outputs(kept).weight, convolution.weight[kept])
    torch.testing.assert_close(convolution.outputs(kept).bias, convolution.bias[kept])
    torch.testing.assert_close(convolution.inputs(kept).weight, convolution.weight[:, kept])
    zeroed = convolution.zero_inputs(dropped).weight
    assert not zeroed[:, dropped].any()
    torch.testing.assert_close(zeroed[:, kept], convolution.weight[:, kept])


def test_a_batch_norm_that_follows_at_once_is_gone():
    unet = random_unet(normalization="batch")
    layers = list(unet.encoder[0])
    norm = layers[1]
    norm.running_mean.fill_(0.5)
    norm.running_var.fill_(4.0)
    folded = fold(unet, 0.3).down[0][0]
    images = random_maps(2, 6, 6)
    with torch.no_grad():
        expected = norm(layers[0](images)) / (1 - 0.3)
        torch.testing.assert_close(F.conv2d(images, folded.weight, folded.bias, padding=1), expected)
    assert folded.scale is None


def test_folding_leaves_the_network_alone():
    unet = random_unet(normalization="batch")
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    fold(unet, 0.3)
    assert all(torch.equal(before[name], tensor) for name, tensor in unet.state_dict().items())


def test_a_batch_norm_without_statistics_is_refused():
    unet = random_unet(normalization="batch")
    unet.encoder[0][1] = nn.BatchNorm2d(4, track_running_stats=False)
    with pytest.raises(TypeError, match="without running statistics"):
        fold(unet, 0.3)
