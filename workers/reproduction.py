"""Train a registered version again, beside the running system, and compare the result with what was registered.

What it takes is what card and row recorded: the parent's bundle or the seed of a fresh network, the labels with the
checksums of their masks, the patches with prior outlines, the configuration, the seed and the number of threads.
Nothing is registered. No row is changed, but for masks that had to be drawn again.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from sqlalchemy import select

from catalog import training
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Label, Scene, SceneRole, SceneState, TrainingRun
from imagery.classes import UNKNOWN, ClassScheme
from models import score_ratios
from models.card import ModelCard, TrainingEnvironment
from models.inference import place
from models.segmenter import GlacierSegmenter, build_segmenter
from services.class_scheme import class_scheme
from services.places import raster_store
from services.reproductions import Pair, Precision, Reproduction
from services.scenes import source_of
from workers.calibration import calibrate
from workers.code_version import code_version
from workers.evaluation import evaluate, evaluation_set
from workers.label_repair import usable_labels
from workers.labelled_patches import LabelledPatchDataset
from workers.network_training import train_network
from workers.versions import LoadedVersion, device, load_card, load_version
from workers.weak_patches import WeakPatchDataset, WeakPatches, prior_scenes
from workers.windows import predict_strips

Show = Callable[[str, int, int], None]
"""Takes what is being done, and how many of how many steps of the training are done."""

_MOST_NAMED = 20  # ids in a message


def reproduce(
    catalog: Catalog,
    version: int,
    threads: int | None = None,
    precision: Precision | None = None,
    show: Show = lambda _doing, _done, _steps: None,
) -> Reproduction:
    """Train a version again and compare it.

    Args:
        catalog: the catalog.
        version: its number.
        threads: torch's CPU threads instead of those recorded, to see what they change.
        precision: "float32" or "bfloat16" instead of the recorded precision, likewise.
        show: told what is being done; what it raises ends the work.

    Raises:
        NotFoundError: there is no such version, or its parent was deleted in MLflow.
        ConflictError: something that it was trained on is lost or was changed, the message says what; or the training
            diverges.
        SceneError: a scene cannot be read any more.
        ServiceDownError: MLflow does not answer.
    """
    card, run = load_card(catalog, version), _run_of(catalog, version)
    threads = threads or (card.environment.threads if card.environment else catalog.settings.torch_threads)
    catalog = copy(catalog)  # with the same database, but settings of its own
    catalog.settings = catalog.settings.model_copy(update={"torch_threads": threads})
    registered = load_version(catalog, version)
    config = replace(card.training, precision=precision) if precision else card.training
    show("reading what it learnt from", 0, config.steps)
    scheme = class_scheme(catalog)
    labels = _labels_of(catalog, run)
    weak = _weak_patches(catalog, card, labels, scheme)
    validation = _scenes(catalog, card, SceneRole.VALIDATION)
    segmenter = _start(catalog, card, run)
    segmenter.orientations = card.orientations
    dataset = LabelledPatchDataset(labels, segmenter.channels, raster_store(catalog), scheme)
    try:
        train_network(
            catalog,
            segmenter,
            dataset,
            weak,
            config,
            validation,
            card.patch_size_px,
            lambda report: show("training", report.step, report.steps),
        )
    except FloatingPointError as error:
        raise ConflictError(
            f"the training of version {version} diverges here, which it did not do then: {error}; expected finite "
            "losses: try again with the precision float32"
        ) from error
    show("calibrating", config.steps, config.steps)
    form = card.calibration.form if card.calibration else "none"
    calibrate(catalog, segmenter, validation, card.patch_size_px, card.classes, form)
    here = TrainingEnvironment.of(device(catalog))
    notes = _other_circumstances(card, here, config.precision)
    if training.checksum(labels) != run.labels_sha256:
        notes.append("masks were drawn again since, and their files have other checksums than those learnt from")
    same = here == card.environment and config.precision == card.training.precision
    same = same and card.code_version == code_version() and here.device == "cpu"
    show("comparing metrics", config.steps, config.steps)
    metrics, changed = _compare_metrics(catalog, segmenter, card)
    largest, rms, size = _compare_weights(registered.segmenter, segmenter)
    show("comparing maps", config.steps, config.steps)
    same_class = _same_class(catalog, registered, segmenter, validation)
    return Reproduction(version, largest, rms, size, metrics, same_class, same, (*notes, *changed))


def _run_of(catalog: Catalog, version: int) -> TrainingRun:
    with catalog.read() as session:
        run = session.scalar(select(TrainingRun).where(TrainingRun.model_version == version))
    if run is None:
        raise ConflictError(
            f"found no training run of version {version} in this database, which would tell its labels and seed; "
            "expected a version that was trained by this installation"
        )
    return run


def _labels_of(catalog: Catalog, run: TrainingRun) -> list[Label]:
    """Return the labels of a run with whole masks; damaged ones are drawn again from the ledger.

    Raises:
        ConflictError: the mask of a label cannot be had any more.
    """
    with catalog.read() as session:
        labels = training.labels_of_run(session, run)
    usable = usable_labels(catalog, labels)
    lost = sorted(set(run.label_ids) - {label.id for label in usable})
    if lost:
        raise ConflictError(
            f"found {len(lost)} of the {len(run.label_ids)} labels of version {run.model_version} without a mask (ids "
            f"{', '.join(map(str, lost[:_MOST_NAMED]))}): it is lost or damaged, and cannot be drawn again from the "
            "ledger; expected all: restore the raster store from a backup, then try again"
        )
    return usable


def _weak_patches(catalog: Catalog, card: ModelCard, labels: Sequence[Label], scheme: ClassScheme) -> WeakPatches:
    """Return the patches with prior outlines that the card names."""
    if card.priors is None:
        return WeakPatches(None, 0.0)
    with catalog.read() as session:
        found = {item.scene.id: item for item in prior_scenes(session, labels)}
    for source in card.priors.sources:
        if source.scene not in found or found[source.scene].prior.sha256 != source.sha256:
            raise ConflictError(
                f"found no scene {source.scene} with the prior outlines that the version learnt from (SHA-256 "
                f"{source.sha256[:12]}...); they were replaced or removed since"
            )
    scenes = [found[source.scene] for source in card.priors.sources]
    dataset = WeakPatchDataset(
        scenes,
        card.channels,
        raster_store(catalog),
        scheme,
        catalog.settings.min_valid_share,
        card.training.seed,
        card.priors.patch_ids or None,
    )
    if len(dataset) != card.priors.patches:
        raise ConflictError(
            f"found {len(dataset)} of the {card.priors.patches} patches with prior outlines that the version learnt "
            "from; the others were removed since"
        )
    return WeakPatches(dataset, card.priors.share)


def _scenes(catalog: Catalog, card: ModelCard, role: SceneRole) -> list[Scene]:
    ids = card.evaluation[role.value].scenes if role.value in card.evaluation else ()
    with catalog.read() as session:
        found = [session.get(Scene, scene_id) for scene_id in ids]
    ready = [scene for scene in found if scene is not None and scene.state is SceneState.READY]
    if len(ready) != len(ids):
        raise ConflictError(
            f"found {len(ready)} of the {len(ids)} {role.value} scenes that the version was judged on; the others were "
            "removed since"
        )
    return ready


def _start(catalog: Catalog, card: ModelCard, run: TrainingRun) -> GlacierSegmenter:
    """Return the network that the training started from, on its device."""
    if run.parent_version is not None:
        return load_version(catalog, run.parent_version).segmenter
    fresh = build_segmenter(
        card.channels, card.mean, card.std, card.unet, run.seed, card.head, card.input_normalization, card.precedence
    )
    return place(fresh, device(catalog))


def _other_circumstances(card: ModelCard, here: TrainingEnvironment, precision: str) -> list[str]:
    """Say in what the two trainings differ beside their random numbers; each may round or compute differently."""
    notes = []
    code = code_version()
    if code != card.code_version:
        notes.append(f"it was trained by the code {card.code_version}, this is {code}")
    elif code.endswith("-dirty"):
        notes.append(f"the code {code} has changes that are in no commit, so it may be another than then")
    if precision != card.training.precision:
        notes.append(f"it was trained in {card.training.precision}, here in {precision}")
    if card.environment is None:
        notes.append("its card, of an earlier release, does not say on what device and with how many threads")
    else:
        then = card.environment.model_dump()
        notes += [
            f"{name}: then {then[name]}, here {now}" for name, now in here.model_dump().items() if now != then[name]
        ]
    if here.device == "cuda":
        notes.append("a GPU adds in no fixed order, so that no two trainings are exactly equal")
    return notes


def _compare_metrics(
    catalog: Catalog, segmenter: GlacierSegmenter, card: ModelCard
) -> tuple[dict[str, dict[str, Pair]], list[str]]:
    """Return the registered and the reproduced metrics by role and name, and why those of a role are left out."""
    pairs: dict[str, dict[str, Pair]] = {}
    left_out = []
    for role, then in card.metrics.items():
        scenes = _scenes(catalog, card, SceneRole(role))
        if evaluation_set(catalog, scenes) != card.evaluation[role]:
            left_out.append(f"the truth of the {role} scenes was changed since, so their metrics are not compared")
            continue
        now = evaluate(catalog, segmenter, scenes, card.patch_size_px).metrics
        by_class: dict[str, Pair] = {name: (then.iou[name], now.iou[name]) for name in card.classes}
        mean = float(score_ratios.mean_iou(np.array(then.confusion)))  # cards of earlier releases had another mean
        pairs[role] = {"mean": (None if np.isnan(mean) else mean, now.mean_iou), **by_class}
    return pairs, left_out


def _compare_weights(registered: GlacierSegmenter, reproduced: GlacierSegmenter) -> tuple[float, float, float]:
    """Return the largest and the root mean square difference, and the root mean square of the registered weights."""
    found = reproduced.state_dict()
    pairs = [
        (tensor.cpu().double().flatten(), found[name].cpu().double().flatten())
        for name, tensor in registered.state_dict().items()
        if tensor.is_floating_point() and name not in {"mean", "std"}
    ]
    then, now = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    difference = then - now
    return float(difference.abs().max()), _rms(difference), _rms(then)


def _rms(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())


def _same_class(
    catalog: Catalog, registered: LoadedVersion, reproduced: GlacierSegmenter, scenes: Sequence[Scene]
) -> float:
    """Return the share of the pixels with data that two networks put into the same class."""
    same = judged = 0
    size, batch = registered.card.patch_size_px, catalog.settings.inference_batch_size
    for scene in scenes:
        maps = (
            predict_strips(segmenter, source_of(scene), size, batch, UNKNOWN)
            for segmenter in (registered.segmenter, reproduced)
        )
        for (_, then), (_, now) in zip(*maps, strict=True):
            known = then != UNKNOWN
            same += int(np.count_nonzero((then == now) & known))
            judged += int(np.count_nonzero(known))
    return same / judged if judged else 1.0
