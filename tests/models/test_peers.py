"""Each paper's architecture, stated a second time in plain torch from its text, gives the same numbers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models.presets import PRESETS
from models.unet import UNet

Block = Callable[[int, int], nn.Module]


def baraka_block(inputs: int, outputs: int) -> nn.Module:
    """3x3 convolutions with ReLU, spatial dropout between the first convolution and its ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.Dropout2d(0.3),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(),
    )


def aryal_block(inputs: int, outputs: int) -> nn.Module:
    """3x3 convolutions, batch norm after each, GELU; spatial dropout after the block."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.GELU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.GELU(),
        nn.Dropout2d(0.1),
    )


def he_block(inputs: int, outputs: int) -> nn.Module:
    """3x3 convolutions, each followed by ReLU, then batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(outputs),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(outputs),
    )


class PlainUNet(nn.Module):
    """Ronneberger's wiring, written as recursion: a level wraps all that lies below it."""

    def __init__(self, block: Block, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.down = block(inputs, width)
        self.below: nn.Module = PlainUNet(block, width, 2 * width, depth - 1) if depth > 1 else block(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.merge = block(2 * width, width)

    def forward(self, maps: Tensor) -> Tensor:
        skip = self.down(maps)
        raised = self.up(self.below(nn.functional.max_pool2d(skip, 2)))
        return self.merge(torch.cat([raised, skip], dim=1))


PEERS = {"baraka": baraka_block, "aryal": aryal_block, "he": he_block}


def leaves(module: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [layer for layer in module.modules() if isinstance(layer, kind)]


def ours_in_the_peers_order(unet: UNet, kind: type[nn.Module]) -> list[nn.Module]:
    """Return the layers of one kind in the order of the peer network: encoder, bottleneck, decoder."""
    return [layer for block in (*unet.encoder, unet.bottleneck, *unet.decoder) for layer in leaves(block, kind)]


def pairs(unet: UNet, peer: PlainUNet, kind: type[nn.Module]) -> list[tuple[nn.Module, nn.Module]]:
    return list(zip(ours_in_the_peers_order(unet, kind), leaves(peer, kind), strict=True))


def copy_weights(unet: UNet, peer: PlainUNet) -> None:
    """Give the peer our weights. A bias that only the peer has is drawn at random, and meant to change nothing."""
    for ours, its in pairs(unet, peer, nn.BatchNorm2d):
        its.load_state_dict(ours.state_dict())
    for ours, its in pairs(unet, peer, nn.Conv2d):
        its.weight.data.copy_(ours.weight.data)
        if ours.bias is not None:
            its.bias.data.copy_(ours.bias.data)
    for ours, its in zip(unet.upsamplers, leaves(peer, nn.ConvTranspose2d), strict=True):
        its.load_state_dict(ours.state_dict())


def shift_means_by_biases(peer: PlainUNet) -> None:
    """A batch norm right after a convolution subtracts the mean, and with it any bias."""
    for block in [module for module in peer.modules() if isinstance(module, nn.Sequential)]:
        for convolution, norm in zip(leaves(block, nn.Conv2d), leaves(block, nn.BatchNorm2d), strict=True):
            norm.running_mean += convolution.bias.data


@pytest.mark.parametrize("name", PEERS)
def test_preset_gives_the_numbers_of_an_independent_restatement(name):
    torch.manual_seed(0)
    config = PRESETS[name].unet
    unet = UNet(config).double()
    peer = PlainUNet(PEERS[name], config.in_channels, config.width, config.depth).double()
    images = torch.randn(2, config.in_channels, 64, 96, dtype=torch.float64)  # rounding is not what is compared
    with torch.no_grad():
        for norm in leaves(unet, nn.BatchNorm2d):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.2, 0.2)
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
        copy_weights(unet, peer)
        if name == "aryal":
            shift_means_by_biases(peer)
        found, expected = unet.eval()(images), unet.head(peer.eval()(images))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


def parameters_by_hand(inputs: int, width: int, depth: int, outputs: int, bias: int, norm: int) -> int:
    """Count them from the paper's description: `bias` 1 with biases in 3x3 convolutions, `norm` 2 with batch norms."""
    widths = [width * 2**level for level in range(depth + 1)]
    incoming = [inputs, *widths[:-1]]

    def block(before: int, maps: int) -> int:
        return 9 * before * maps + 9 * maps * maps + 2 * maps * (bias + norm)

    down = sum(block(before, maps) for before, maps in zip(incoming, widths, strict=True))
    up = sum(4 * 2 * maps * maps + maps + block(2 * maps, maps) for maps in widths[:-1])
    return down + up + width * outputs + outputs


@pytest.mark.parametrize(
    ("name", "description", "total"),
    [
        ("baraka", {"inputs": 15, "width": 16, "depth": 5, "outputs": 3, "bias": 1, "norm": 0}, 7_777_363),
        ("aryal", {"inputs": 8, "width": 32, "depth": 4, "outputs": 1, "bias": 0, "norm": 2}, 7_764_481),
        ("he", {"inputs": 3, "width": 32, "depth": 5, "outputs": 1, "bias": 1, "norm": 2}, 31_106_529),
    ],
)
def test_parameter_count_is_the_one_counted_by_hand(name, description, total):
    unet = UNet(PRESETS[name].unet)
    assert parameters_by_hand(**description) == total
    assert sum(parameter.numel() for parameter in unet.parameters()) == total


@pytest.mark.parametrize(("name", "side", "logits"), [("baraka", 512, 3), ("aryal", 512, 1), ("he", 128, 1)])
def test_shapes_at_the_patch_size_of_the_paper(name, side, logits):
    preset = PRESETS[name]
    assert preset.patch_size_px == side
    with torch.device("meta"):
        unet = UNet(preset.unet)
        assert unet(torch.empty(2, preset.unet.in_channels, side, side)).shape == (2, logits, side, side)
        lowest = side // 2**preset.unet.depth
        deepest = unet.bottleneck(torch.empty(1, preset.unet.width * 2 ** (preset.unet.depth - 1), lowest, lowest))
        assert deepest.shape[1] == preset.unet.width * 2**preset.unet.depth


def test_aryals_batch_norms_are_not_shared_between_convolutions():
    """Trap: the authors' code uses one batch norm for both convolutions of a block."""
    unet = UNet(PRESETS["aryal"].unet)
    norms, convolutions = (ours_in_the_peers_order(unet, kind) for kind in (nn.BatchNorm2d, nn.Conv2d))
    assert len({id(norm) for norm in norms}) == len(convolutions) == 2 * (2 * 4 + 1)
