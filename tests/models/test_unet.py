import pytest
import torch
from pydantic import ValidationError
from torch import nn

from models.unet import UNet, UNetConfig


def blocks(unet: UNet) -> list[nn.Module]:
    return [*unet.encoder, unet.bottleneck, *unet.decoder]


def test_defaults_are_barakas_network_of_7_8_million_parameters():
    unet = UNet(UNetConfig(in_channels=15))
    # Counted by hand: 3x3 convolutions 7 078 448, 2x2 transposed convolutions 698 864, head 51.
    convolutions = sum(
        9 * inputs * outputs + outputs
        for width, before in zip([16, 32, 64, 128, 256, 512], [15, 16, 32, 64, 128, 256], strict=True)
        for inputs, outputs in [(before, width), (width, width)]
    ) + sum(9 * i * w + w for w in [16, 32, 64, 128, 256] for i in [2 * w, w])
    transposed = sum(4 * 2 * w * w + w for w in [16, 32, 64, 128, 256])
    head = 16 * 3 + 3
    assert sum(parameter.numel() for parameter in unet.parameters()) == convolutions + transposed + head
    assert convolutions + transposed + head == pytest.approx(7.8e6, rel=0.01)


def test_every_block_drops_maps_between_its_first_convolution_and_the_activation():
    unet = UNet(UNetConfig(in_channels=4, depth=3, width=4))
    assert len(blocks(unet)) == 7
    for block in blocks(unet):
        assert [type(layer) for layer in block] == [nn.Conv2d, nn.Dropout2d, nn.ReLU, nn.Conv2d, nn.ReLU]
        assert block[1].p == 0.3


def test_each_convolution_has_a_batch_norm_of_its_own_when_asked():
    unet = UNet(UNetConfig(in_channels=4, depth=3, width=4, normalization="batch"))
    for block in blocks(unet):
        kinds = [type(layer) for layer in block]
        assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.Dropout2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    norms = [layer for layer in unet.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len({id(norm) for norm in norms}) == 2 * 7


def test_activation_is_chosen_by_name():
    unet = UNet(UNetConfig(in_channels=1, depth=1, width=2, activation="gelu"))
    assert sum(isinstance(layer, nn.GELU) for layer in unet.modules()) == 2 * 3


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 40)])
def test_output_has_the_size_of_the_input(height, width):
    unet = UNet(UNetConfig(in_channels=4, classes=5, depth=3, width=2))
    assert unet(torch.zeros(2, 4, height, width)).shape == (2, 5, height, width)


def test_wrong_size_is_refused_with_the_size_to_pad_to():
    unet = UNet(UNetConfig(in_channels=1, depth=5, width=1))
    with pytest.raises(ValueError, match=r"33 x 64 px.*multiples of 32.*pad them to 64 x 64"):
        unet(torch.zeros(1, 1, 33, 64))


def test_deepest_maps_see_the_whole_patch():
    """Moving one corner pixel changes the opposite corner's logits: five poolings span 64 pixels."""
    torch.manual_seed(0)
    unet = UNet(UNetConfig(in_channels=1, depth=5, width=4)).eval()
    image = torch.randn(1, 1, 64, 64)
    moved = image.clone()
    moved[0, 0, 0, 0] += 10.0
    with torch.no_grad():
        assert not torch.equal(unet(image)[0, :, -1, -1], unet(moved)[0, :, -1, -1])


def test_initial_signal_neither_dies_nor_explodes_through_22_convolutions():
    torch.manual_seed(0)
    unet = UNet(UNetConfig(in_channels=4, depth=5, width=8)).eval()
    with torch.no_grad():
        assert 0.1 < unet(torch.randn(2, 4, 64, 64)).std() < 10.0


def test_configuration_survives_json():
    config = UNetConfig(in_channels=7, depth=3, dropout=0.1, normalization="batch", activation="gelu")
    assert UNetConfig.from_json(config.to_json()) == config
    assert config.size_multiple == 8


@pytest.mark.parametrize(
    "document",
    [
        {"in_channels": 4, "drop_out": 0.3},
        {"depth": 3},
        {"in_channels": "4"},
        {"in_channels": 0},
        {"in_channels": 4, "dropout": 1.0},
        {"in_channels": 4, "depth": 40},
        {"in_channels": 4, "normalization": "group"},
    ],
    ids=["unknown key", "missing key", "wrong type", "no channel", "all dropped", "too deep", "unknown name"],
)
def test_configuration_is_closed(document):
    with pytest.raises(ValidationError):
        UNetConfig.from_json(document)
