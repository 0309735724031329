"""Ground of known truth with a network's errors on it, alike over some distance: for the tests of areas."""

import numpy as np
from scipy.fft import fft2, ifft2
from scipy.ndimage import fourier_gaussian
from scipy.special import softmax

from models.area_evidence import CellEvidence, collect, outlines_of
from models.calibration import probability_bins

UNKNOWN = 255


def world(seed, side=1024, *, overconfidence=3.0, noise=0.5, classes=3):
    """Return truth (side, side) and the probabilities (classes, side, side) of an over-confident network.

    Classes are where smooth fields are highest; the network sees these fields with errors that are alike over about ten
    pixels, and its logits are too large by a factor.
    """
    generator = np.random.default_rng(seed)

    def field(sigma):
        spectrum = fourier_gaussian(fft2(generator.standard_normal((side, side))), sigma)
        smooth = ifft2(spectrum).real
        return smooth / smooth.std()

    fields = np.stack([field(24) + 0.8 * (value == 0) for value in range(classes)])
    seen = fields + noise * np.stack([field(4) for _ in range(classes)])
    return fields.argmax(axis=0).astype(np.uint8), softmax(2 * overconfidence * seen, axis=0).astype(np.float32)


def evidence(truth, probabilities) -> CellEvidence:
    classes = probabilities.argmax(axis=0).astype(np.uint8)
    outlines = outlines_of(classes, len(probabilities))
    return collect(classes, probability_bins(probabilities), truth, outlines, slice(0, len(truth)), UNKNOWN)
