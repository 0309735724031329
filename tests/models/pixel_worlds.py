"""Patches whose classes are known functions of their channels, for the tests of pixel classifiers."""

import numpy as np

IGNORE = 255


def separable_patches(count: int = 3, size: int = 24, seed: int = 0):
    """Three channels: brightness tells ice (over 0.5) from ground, the second is noise, temperature tells debris.

    Class 1 where bright; class 2 where dark and warm (over 10); class 0 elsewhere.
    """
    generator = np.random.default_rng(seed)
    patches = []
    for _ in range(count):
        brightness = generator.random((size, size))
        temperature = generator.uniform(0, 20, (size, size))
        raw = np.stack([brightness, generator.normal(size=(size, size)), temperature]).astype(np.float32)
        mask = np.where(brightness > 0.5, 1, np.where(temperature > 10, 2, 0)).astype(np.uint8)
        patches.append((raw, mask))
    return patches
