import pytest
import torch
from torch.nn import functional as F

from models.fused_convolution import FusedConvolution

CPU = torch.device("cpu")


def tensors(kernel: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Maps of 5 channels, weight and bias to 7, and a sum that has begun."""
    generator = torch.Generator().manual_seed(kernel)
    shapes = [(2, 5, 6, 9), (7, 5, kernel, kernel), (7,), (2, 7, 6, 9)]
    maps, weight, bias, total = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    last = torch.channels_last
    return [maps.contiguous(memory_format=last), weight, bias, total.contiguous(memory_format=last)]


@pytest.fixture(params=["fused where oneDNN can", "plain operators"])
def convolution(request):
    def make(activation):
        made = FusedConvolution(activation, CPU, torch.float32)
        made.fuses = made.fuses and request.param.startswith("fused")
        return made

    return make


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize(("activation", "function"), [("relu", F.relu), ("gelu", F.gelu)])
def test_convolves_and_activates(convolution, kernel, activation, function):
    maps, weight, bias, total = tensors(kernel)
    plain = F.conv2d(maps, weight, bias, padding=kernel // 2)
    added = total + F.conv2d(maps, weight, padding=kernel // 2)
    convolve = convolution(activation)
    torch.testing.assert_close(convolve.linear(maps, weight, bias), plain)
    torch.testing.assert_close(convolve(maps, weight, bias), function(plain))
    torch.testing.assert_close(convolve.onto(total, maps, weight), function(added))


def test_keeps_maps_channels_last(convolution):
    maps, weight, bias, total = tensors(3)
    convolve = convolution("relu")
    for result in (
        convolve(maps, weight, bias),
        convolve.linear(maps, weight, bias),
        convolve.onto(total, maps, weight),
    ):
        assert result.is_contiguous(memory_format=torch.channels_last)


def test_fuses_nothing_off_the_cpu_or_in_precisions_that_onednn_lacks():
    assert not FusedConvolution("relu", torch.device("cuda"), torch.float32).fuses
    assert not FusedConvolution("relu", CPU, torch.float64).fuses
