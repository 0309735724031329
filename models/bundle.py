"""A model version on disk: ``weights.safetensors``, ``model.onnx`` and ``card.json`` in one directory.

No pickle anywhere: safetensors holds numbers only, and reading a bundle runs no code of its author.
"""

import hashlib
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor

from models.card import FEATURES_DESCRIPTION, ModelCard, ModelOrigin
from models.input_channels import onnx_metadata
from models.onnx_export import export_onnx
from models.probe import make_probe
from models.segmenter import GlacierSegmenter, build_segmenter

WEIGHTS_FILE = "weights.safetensors"
ONNX_FILE = "model.onnx"
CARD_FILE = "card.json"

# A card lists the ids of the labels it was trained on: a million of them fit.
MAX_CARD_BYTES = 16 * 2**20

_RENAMED_PREFIXES = {"unet.clean.": "unet.networks.0.", "unet.debris.": "unet.networks.1."}


class BundleError(ValueError):
    """A directory is not a model version, or is damaged."""


def write_bundle(
    directory: Path, segmenter: GlacierSegmenter, origin: ModelOrigin, graphs: Path | None = None
) -> ModelCard:
    """Write a model version. The card is written last, so that an interrupted write leaves no readable bundle.

    Args:
        directory: Target directory; created if missing. Files of an earlier bundle are replaced.
        segmenter: The trained network; it is not changed.
        origin: How it was trained, on what, and with which scores.
        graphs: Cache folder for ONNX graphs (see :func:`models.onnx_export.export_onnx`).

    Returns:
        The card that was written.

    Raises:
        ValueError: The origin names other classes or channels than those that the network was built for.
    """
    if len(origin.classes) != segmenter.classes:
        raise ValueError(
            f"the origin names {len(origin.classes)} classes ({', '.join(origin.classes)}); "
            f"the network predicts {segmenter.classes}"
        )
    if origin.precedence != segmenter.precedence:
        raise ValueError(
            f"found the precedence {segmenter.precedence} in the network and {origin.precedence} in its origin; "
            "expected a network that was built for the classes of its labels"
        )
    described_channels = tuple(channel.name for channel in origin.input_channels)
    if described_channels != segmenter.channels:
        raise ValueError(
            f"the origin describes the input channels {list(described_channels)}; "
            f"the network takes {list(segmenter.channels)}"
        )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CARD_FILE).unlink(missing_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in segmenter.state_dict().items()}
    safetensors_torch.save_file(weights, directory / WEIGHTS_FILE)
    described = onnx_metadata(origin.input_channels, origin.levels, origin.sensors)
    export_onnx(segmenter, directory / ONNX_FILE, graphs, described)
    card = ModelCard(
        **dict(origin),
        channels=segmenter.channels,
        mean=tuple(segmenter.mean.tolist()),
        std=tuple(segmenter.std.tolist()),
        unet=segmenter.unet.config,
        head=segmenter.head,
        input_normalization=segmenter.input_normalization,
        logit_scale=tuple(segmenter.logit_scale.tolist()),
        logit_shift=tuple(segmenter.logit_shift.tolist()),
        orientations=segmenter.orientations,
        weights_sha256=_sha256((directory / WEIGHTS_FILE).read_bytes()),
        features_output=FEATURES_DESCRIPTION,
        onnx_sha256=_sha256((directory / ONNX_FILE).read_bytes()),
        probe=make_probe(segmenter),
    )
    (directory / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return card


def read_bundle(directory: Path) -> tuple[GlacierSegmenter, ModelCard]:
    """Read a model version, checking the schema of its card, the checksum of its weights and the shape of each tensor.

    Args:
        directory: A directory written by :func:`write_bundle`.

    Returns:
        The segmenter on the CPU in evaluation mode, and its card.

    Raises:
        BundleError: A file is missing, the card breaks the schema, or the weights are not those that the card names.
    """
    card = read_card(directory)
    data = _read(directory / WEIGHTS_FILE)
    if _sha256(data) != card.weights_sha256:
        raise BundleError(
            f"{directory / WEIGHTS_FILE} has the SHA-256 {_sha256(data)}, its card says {card.weights_sha256}; "
            "the file was damaged or exchanged: fetch the version again"
        )
    try:
        weights = {_current_name(name): tensor for name, tensor in safetensors_torch.load(data).items()}
        segmenter = build_segmenter(
            card.channels,
            card.mean,
            card.std,
            card.unet,
            seed=0,
            head=card.head,
            input_normalization=card.input_normalization,
            precedence=card.precedence,
        )
        segmenter.calibrate(card.scaling)
        segmenter.orientations = card.orientations
    except (SafetensorError, ValueError) as error:
        raise BundleError(f"{directory} does not hold a usable network: {error}") from error
    _check_tensors(directory, segmenter.state_dict(), weights)
    segmenter.load_state_dict(weights)
    return segmenter, card


def read_card(directory: Path) -> ModelCard:
    """Read the card of a model version only.

    Args:
        directory: A directory written by :func:`write_bundle`.

    Returns:
        The card.

    Raises:
        BundleError: The card is missing, too large, or breaks the schema; the message names the field.
    """
    path = directory / CARD_FILE
    if path.is_file() and path.stat().st_size > MAX_CARD_BYTES:
        raise BundleError(f"{path} has {path.stat().st_size} bytes; a card has at most {MAX_CARD_BYTES}")
    try:
        return ModelCard.model_validate_json(_read(path))
    except ValidationError as error:
        raise BundleError(f"{path} breaks the schema of model cards: {error}") from error


def _current_name(name: str) -> str:
    """Return the current name of a tensor; earlier releases named the two binary networks by their class."""
    for old, new in _RENAMED_PREFIXES.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _check_tensors(directory: Path, expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Compare names, shapes and dtypes, and the statistics in the weights with those in the card."""
    described = [
        {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()} for tensors in (expected, found)
    ]
    differing = sorted(
        name for name in expected.keys() | found.keys() if described[0].get(name) != described[1].get(name)
    )
    if differing:
        name = differing[0]
        raise BundleError(
            f"{len(differing)} tensors of {directory / WEIGHTS_FILE} do not fit the network that its card describes; "
            f"the first is {name}: expected {described[0].get(name)}, found {described[1].get(name)}"
        )
    for name in ("mean", "std"):
        if not torch.equal(expected[name], found[name]):
            raise BundleError(
                f"the {name} in {directory / WEIGHTS_FILE} is {found[name].tolist()}, "
                f"its card says {expected[name].tolist()}"
            )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} is missing; a model version holds {WEIGHTS_FILE}, {ONNX_FILE} and {CARD_FILE}"
        ) from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
