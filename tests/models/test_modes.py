import pytest
import torch
from torch import nn

from models.modes import evaluating, mixed_precision


def test_each_submodule_gets_its_own_mode_back():
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(1)).train()
    model[1].eval()  # frozen statistics
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == [True, True, False]
    assert torch.is_grad_enabled()


def test_mode_is_given_back_after_an_error():
    model = nn.Linear(1, 1).train()
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert model.training


def test_cpu_computes_in_float32():
    with mixed_precision(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_precision_is_what_was_asked_for(dtype):
    with mixed_precision(torch.device("cpu"), dtype):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
