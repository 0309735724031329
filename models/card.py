"""The model card: the JSON description of a model version; unknown fields are refused.

Undefined scores (NaN) are null, since JSON has no NaN.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from models.area_error import AreaError
from models.block_counts import BlockCounts
from models.gate import Figure, GateEvidence
from models.heads import Head
from models.input_channels import INPUT_DESCRIPTION, InputChannel, channels_of_format_1
from models.logit_scaling import LogitScaling, ScalingForm
from models.metrics import Metrics, empty_mask_mean_iou
from models.network_calibration import CalibrationSummary
from models.probe import Probe
from models.saliency import Saliency
from models.score_ratios import mean_iou
from models.segmenter import InputNormalization
from models.symmetries import Orientations
from models.training_config import TrainingConfig
from models.unet import UNetConfig

OUTPUT_DESCRIPTION = "class probabilities, float32, (N, K, H, W), class in the order of `classes`; they sum to 1"
FEATURES_DESCRIPTION = "maps of the last decoder block, float32, (N, M, H, W), from which the logits are computed"


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Role = Literal["validation", "test"]


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CardClass(_StrictModel):
    """One class of the labels.

    Attributes:
        name: The label as annotators read it.
        value: The pixel value in a label mask; 0 is background.
        colour: The display colour, "#rrggbb".
        precedence: Where outlines overlap, the class of the highest precedence wins.
    """

    name: str
    value: int = Field(ge=0, le=254)
    colour: str
    precedence: int


_LEGACY_LABEL_CLASSES: Final = (
    {"name": "background", "value": 0, "colour": "#1e293b", "precedence": 0},
    {"name": "clean ice", "value": 1, "colour": "#38bdf8", "precedence": 1},
    {"name": "debris-covered ice", "value": 2, "colour": "#f97316", "precedence": 2},
)
"""The label classes of cards from releases before class schemes, which all used these three."""


class LabelProvenance(_StrictModel):
    """Which labels a model was trained on.

    Attributes:
        ids: Row ids of the masks, each once.
        count: Number of ids.
        simulated_count: How many of them a simulated annotator drew.
        sha256: Checksum over the masks, computed by the caller.
    """

    ids: tuple[int, ...]
    count: int
    simulated_count: int = Field(ge=0)
    sha256: Sha256

    @model_validator(mode="after")
    def _check_counts(self) -> "LabelProvenance":
        if self.count != len(self.ids) or len(set(self.ids)) != len(self.ids):
            raise ValueError(f"count is {self.count}, but there are {len(set(self.ids))} different ids")
        if self.simulated_count > self.count:
            raise ValueError(f"{self.simulated_count} of {self.count} labels cannot be simulated")
        return self


class Change(_StrictModel):
    """A figure before and after something; null where undefined."""

    before: Figure
    after: Figure


class PriorSource(_StrictModel):
    """Prior outlines of a scene that a model learnt from as weak labels.

    Attributes:
        scene: Row id of the scene.
        files: Names of the files.
        classes: The classes that are outlined.
        date: When they were drawn from images: a day, month or year; None if unknown.
        source: Who drew them; None if unknown.
        ring_m: Pixels at most this far from an edge taught nothing, metres.
        sha256: Checksum of their geometries near the scene.
    """

    scene: int
    files: tuple[str, ...]
    classes: tuple[str, ...]
    date: str | None
    source: str | None
    ring_m: float = Field(ge=0)
    sha256: Sha256


class PriorProvenance(_StrictModel):
    """Which prior outlines a model was trained on beside labels.

    Attributes:
        sources: By scene.
        patches: Number of patches that were drawn from.
        patch_ids: Their row ids; empty in cards of earlier releases.
        share: Probability that a patch of a batch was one of these.
    """

    sources: tuple[PriorSource, ...]
    patches: int = Field(ge=1)
    patch_ids: tuple[int, ...] = ()
    share: float = Field(gt=0, le=1)


class TrainingEnvironment(_StrictModel):
    """Where a version was trained: what rounding depends on beside the settings.

    Attributes:
        device: Type of the device: "cpu" or "cuda".
        threads: Number of torch's threads.
        torch_version: Version of torch.
        instructions: The instructions that torch's CPU kernels use, for example "AVX512"; on a GPU its name.
    """

    device: str
    threads: int = Field(ge=1)
    torch_version: str
    instructions: str

    @classmethod
    def of(cls, device: torch.device) -> "TrainingEnvironment":
        """Describe this process and a device."""
        on_gpu = device.type == "cuda"
        instructions = torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability()
        return cls(
            device=device.type,
            threads=torch.get_num_threads(),
            torch_version=str(torch.__version__),
            instructions=instructions,
        )


class RegionMetrics(_StrictModel):
    """Scores on one evaluation set; dictionary keys are class names. See :class:`models.metrics.Metrics`.

    Attributes:
        confusion: Pixel counts; rows are the truth, columns the prediction.
        iou: Intersection over union.
        precision: Share of the predicted pixels that are right.
        recall: Share of the true pixels that are found.
        false_alarm: 1 - precision.
        missed_alarm: 1 - recall.
        mean_iou: Mean over the classes with true pixels, background included. In cards of earlier releases a class
            without any counts as 0 if pixels were predicted as it.
        overall_accuracy: Share of judged pixels that are right.
        kappa: Cohen's kappa.
        empty_mask_mean_iou: Mean IoU of a mask that is background everywhere.
    """

    confusion: tuple[tuple[int, ...], ...]
    iou: dict[str, Figure]
    precision: dict[str, Figure]
    recall: dict[str, Figure]
    false_alarm: dict[str, Figure]
    missed_alarm: dict[str, Figure]
    mean_iou: Figure
    overall_accuracy: Figure
    kappa: Figure
    empty_mask_mean_iou: Figure

    @classmethod
    def from_confusion(cls, confusion: NDArray[np.int64], classes: Sequence[str]) -> "RegionMetrics":
        """Score a pooled confusion matrix.

        Args:
            confusion: (K, K) counts over the whole evaluation set.
            classes: K class names.

        Returns:
            The scores, with undefined ones as None.

        Raises:
            ValueError: The matrix is not square, or does not have one row for each class.
        """
        scores = Metrics.from_confusion(confusion)
        if len(scores.iou) != len(classes):
            raise ValueError(
                f"the matrix has {len(scores.iou)} classes, but {len(classes)} are named: {', '.join(classes)}"
            )

        def by_class(values: tuple[float, ...]) -> dict[str, float | None]:
            return dict(zip(classes, values, strict=True))

        return cls(
            confusion=tuple(tuple(int(count) for count in row) for row in confusion),
            iou=by_class(scores.iou),
            precision=by_class(scores.precision),
            recall=by_class(scores.recall),
            false_alarm=by_class(scores.false_alarm),
            missed_alarm=by_class(scores.missed_alarm),
            mean_iou=scores.mean_iou,
            overall_accuracy=scores.overall_accuracy,
            kappa=scores.kappa,
            empty_mask_mean_iou=empty_mask_mean_iou(confusion),
        )


class NetworkCalibration(_StrictModel):
    """The calibration of the network on windows of the validation scenes (`models.network_calibration`).

    Attributes:
        form: ``"temperature"`` or ``"vector"`` scaling.
        windows: Number of windows that it was fitted to.
        pixels: Number of their pixels that were drawn.
        errors: Expected calibration error by class: before of the network's own probabilities, after of the scaled ones
            where every fifth of the windows is scaled as the others fitted.
        log_loss: Negative log-likelihood in nats a pixel, likewise.
    """

    form: ScalingForm
    windows: int = Field(ge=0)
    pixels: int = Field(ge=0)
    errors: dict[str, Change]
    log_loss: Change

    @classmethod
    def from_summary(cls, summary: CalibrationSummary, classes: Sequence[str]) -> "NetworkCalibration":
        """Name the classes of a summary."""
        pairs = zip(classes, summary.errors_before, summary.errors_after, strict=True)
        return cls(
            form=summary.form,
            windows=summary.windows,
            pixels=summary.pixels,
            errors={name: Change(before=before, after=after) for name, before, after in pairs},
            log_loss=Change(before=summary.log_loss_before, after=summary.log_loss_after),
        )


class EvaluationSet(_StrictModel):
    """The scenes and truth that scores were measured on. A gain exists only if both versions share them.

    Attributes:
        scenes: Row ids of the scenes.
        truth_sha256: Checksum over the truth masks, computed by the caller.
    """

    scenes: tuple[int, ...]
    truth_sha256: Sha256


class Gain(_StrictModel):
    """IoU of a version minus that of the champion at the start of its training, on the same evaluation set.

    Attributes:
        iou: By class name; null where either is undefined.
        mean_iou: Difference of the mean IoUs over the classes with true pixels, which are the same of both.
    """

    iou: dict[str, Figure]
    mean_iou: Figure

    @classmethod
    def between(cls, champion: RegionMetrics, version: RegionMetrics) -> "Gain":
        """Subtract the champion's IoU from the new version's.

        Args:
            champion: Scores of the version that is served.
            version: Scores of the new version, on the same evaluation set.

        Returns:
            The differences, with undefined ones as None.

        Raises:
            ValueError: The two were not scored on the same classes and the same number of true pixels of each.
        """
        truths = [[sum(row) for row in scores.confusion] for scores in (champion, version)]
        if champion.iou.keys() != version.iou.keys() or truths[0] != truths[1]:
            raise ValueError(
                f"the champion was scored on {truths[0]} pixels of {list(champion.iou)}, the new version on "
                f"{truths[1]} of {list(version.iou)}; a gain needs the same evaluation set: score the champion again"
            )
        return cls(
            iou={name: _difference(version.iou[name], champion.iou[name]) for name in version.iou},
            mean_iou=float(np.subtract(*(mean_iou(np.array(scores.confusion)) for scores in (version, champion)))),
        )


class ModelOrigin(_StrictModel):
    """How a model was trained, on what, and with which scores: the part of the card that the trainer supplies.

    Attributes:
        classes: Names of the output classes of the head; the index is the value in its maps.
        label_classes: The classes of the labels, background first; a binary head has fewer output classes.
        patch_size_px: Side of the training patches.
        input_channels: What the network takes in each channel, in the order of the channels.
        levels: What reflectances of the training scenes refer to ("surface", "top of atmosphere", ...): one, unless
            levels were mixed knowingly; empty if it takes digital numbers.
        sensors: Sensors of the scenes it was trained on, as far as they were named.
        parent_version: Registry version that training started from; None if it started from fresh weights.
        champion_version: Registry version that was served then, with which this one is compared; None before the first,
            and in cards of earlier releases, in which the parent was the champion.
        labels: What it was trained on.
        training: How it was trained.
        code_version: Version of this software.
        evaluation: Evaluation set by role.
        metrics: Scores by role of the evaluation set.
        blocks: Counts by spatial block and role; empty in cards of earlier releases.
        gain: Gain over the champion by role; empty for the first version.
        gate: What the gate's decision rests on; None for the first version, and in cards of earlier releases.
        created_at: When the training ended, with time zone.
        calibration: Calibration of the network's probabilities; None if they are as the network was trained.
        area_error: Calibration of the probabilities of its maps and error of its areas; None in cards of earlier
            releases.
        saliency: What it looks at on the validation scenes; None in cards of earlier releases.
        priors: The prior outlines that it was trained on beside the labels; None without.
        environment: Where it was trained; None in cards of earlier releases.
    """

    classes: tuple[str, ...]
    label_classes: Annotated[tuple[CardClass, ...], Field(min_length=2)]
    patch_size_px: int = Field(ge=1)
    input_channels: tuple[InputChannel, ...]
    levels: tuple[str, ...]
    sensors: tuple[str, ...]
    parent_version: int | None
    champion_version: int | None = None
    labels: LabelProvenance
    training: TrainingConfig
    code_version: str
    evaluation: dict[Role, EvaluationSet]
    metrics: dict[Role, RegionMetrics]
    blocks: dict[Role, BlockCounts] = {}
    gain: dict[Role, Gain]
    gate: GateEvidence | None = None
    created_at: AwareDatetime
    calibration: NetworkCalibration | None = None
    area_error: AreaError | None = None
    saliency: Saliency | None = None
    priors: PriorProvenance | None = None
    environment: TrainingEnvironment | None = None

    @property
    def precedence(self) -> tuple[int, ...]:
        """Values of the foreground classes of the labels, from the lowest to the highest precedence."""
        return tuple(item.value for item in sorted(self.label_classes[1:], key=lambda item: item.precedence))


class ModelCard(ModelOrigin):
    """The card of a model version: its origin, its network and its files.

    Attributes:
        format_version: Version of this schema. Cards of format 1, without units, are read: bands are digital numbers.
        channels: Input channels, in order.
        mean: Channel means of the normalisation, in the channels' units.
        std: Channel standard deviations of the normalisation, in the channels' units.
        unet: Architecture of the network, or of each of several.
        head: How its logits become class probabilities.
        input_normalization: Whether images are normalised by ``mean`` and ``std``, or each image by its own statistics.
        logit_scale: Factor of each logit, by which the probabilities are calibrated; None: not calibrated.
        logit_shift: Summand of each logit after the factor; None likewise.
        orientations: In which orientations the windows of its maps are predicted; its scores are of such maps. The
            ONNX graph predicts in one.
        input: Description of the input of the ONNX graph.
        output: Description of the output ``probabilities`` of the ONNX graph.
        features_output: Description of its output ``features``; None if the graph, of an earlier release, has none.
        weights_sha256: Checksum of ``weights.safetensors``.
        onnx_sha256: Checksum of ``model.onnx``.
        probe: What the ONNX graph has to give for a known input; None in cards of earlier releases.
    """

    format_version: Literal[2] = 2
    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    unet: UNetConfig
    head: Head = "multiclass"
    input_normalization: InputNormalization = "dataset"
    logit_scale: tuple[float, ...] | None = None
    logit_shift: tuple[float, ...] | None = None
    orientations: Orientations = "one"
    input: str = INPUT_DESCRIPTION
    output: str = OUTPUT_DESCRIPTION
    features_output: str | None = None
    weights_sha256: Sha256
    onnx_sha256: Sha256
    probe: Probe | None = None

    @property
    def scaling(self) -> LogitScaling | None:
        """The scaling of the logits; None if there is none."""
        if self.logit_scale is None or self.logit_shift is None:
            return None
        return LogitScaling(self.logit_scale, self.logit_shift)

    @model_validator(mode="before")
    @classmethod
    def _migrate(cls, given: Any) -> Any:
        """Accept cards of earlier releases, which state no units and perhaps no classes of the labels."""
        if not isinstance(given, dict) or given.get("format_version") != 1:
            return given
        unstated = {
            "label_classes": _LEGACY_LABEL_CLASSES,
            "input_channels": channels_of_format_1(given.get("channels", ())),
            "levels": (),
            "sensors": (),
        }
        return {**unstated, **given, "format_version": 2}

    @model_validator(mode="after")
    def _check_input_channels(self) -> "ModelCard":
        named = tuple(channel.name for channel in self.input_channels)
        if named != self.channels:
            raise ValueError(f"input_channels describes {list(named)}; expected the channels, {list(self.channels)}")
        return self


def _difference(value: float | None, reference: float | None) -> float | None:
    return None if value is None or reference is None else value - reference
