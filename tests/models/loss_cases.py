"""Small inputs for the tests of losses."""

import torch

IGNORE = 255


def four_pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """Truth 0 0 1 1; the network gives class 1 the probabilities 1/4, 1/4, 3/4, 3/4."""
    logits = of_probabilities([[0.25, 0.25], [0.75, 0.75]])
    return logits, torch.tensor([[[0, 0], [1, 1]]], dtype=torch.uint8)


def of_probabilities(of_one: list[list[float]]) -> torch.Tensor:
    """Two-class logits (1, 2, H, W) whose softmax gives class 1 these probabilities."""
    probability = torch.tensor(of_one, dtype=torch.float64)
    return torch.stack([1.0 - probability, probability]).log()[None]


def certain(classes: torch.Tensor, count: int) -> torch.Tensor:
    """Logits (N, K, H, W) that give these classes (N, H, W) a probability of 1 up to rounding."""
    return 100.0 * torch.nn.functional.one_hot(classes, count).movedim(-1, 1).double()


def random_case(seed: int = 0, side: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images of three classes, 3 x ``side`` pixels, the first two pixels unknown."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 3, side, generator=generator, dtype=torch.float64)
    target = torch.randint(3, (2, 3, side), generator=generator)
    target[0, 0, :2] = IGNORE
    return logits, target
