"""Every setting, declared once: its type, default, unit and meaning.

A setting is read from the environment variable ``GLACIER_AL_<NAME>``, else from ``config.toml`` in the data folder
(`catalog.settings_sources`). ``docs/settings.md`` lists them all, and a test keeps that page complete. Units are in the
names (`catalog.settings_guide` spells them out). The first setting of each group names the group. Those marked with
`RUN_TIME` may change while the system runs.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NotRequired, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
    with_config,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import TypedDict

from catalog.settings_checks import (
    absolute_unless_url,
    database_address,
    not_empty,
    redis_address,
    web_address,
    web_address_or_none,
)
from catalog.settings_faults import faults
from catalog.settings_sources import HANDED_ON, MAY_BE_PATH, absolute, read_given, variable

AbsolutePath = Annotated[Path, BeforeValidator(not_empty), AfterValidator(absolute)]
FolderOrUrl = Annotated[str, BeforeValidator(not_empty), AfterValidator(absolute_unless_url), MAY_BE_PATH]
WebAddress = Annotated[str, AfterValidator(web_address)]
PublicAddress = Annotated[str, AfterValidator(web_address_or_none)]


MaskedFlag = Literal[
    "fill",
    "dropped",
    "saturated",
    "cloud",
    "high-probability cloud",
    "possible cloud",
    "dilated cloud",
    "cloud shadow",
    "cirrus",
    "dark",
    "water",
]
"""The flags of `imagery.quality` that may be masked."""


class Strategy(StrEnum):
    """How the patches of a round are chosen."""

    RECIPE = "recipe"
    RANDOM = "random"
    ENTROPY_TOP10 = "entropy_top10"
    ENTROPY_MEAN = "entropy_mean"
    MUTUAL_INFORMATION = "mutual_information"
    MARGIN_TOP10 = "margin_top10"
    VARIANCE_TOP10 = "variance_top10"
    FOREGROUND_RANDOM = "foreground_random"
    FOREGROUND_ENTROPY = "foreground_entropy"
    K_CENTER_ENTROPY = "k_center_entropy"
    CLASS_ENTROPY = "class_entropy"
    CLASS_POWER_ENTROPY = "class_power_entropy"
    POWER_ENTROPY = "power_entropy"
    PRIOR_DISAGREEMENT = "prior_disagreement"


class PatchPart(StrEnum):
    """What a round asks for of each patch: all of it, its uncertain areas, or its most uncertain quarter."""

    WHOLE = "whole"
    AREAS = "areas"
    QUARTER = "quarter"


@with_config(ConfigDict(extra="forbid"))
class ClassSetting(TypedDict):
    """One class: ``name``, ``value`` in masks, ``colour`` as #rrggbb; ``precedence`` is the value unless given."""

    name: str
    value: int
    colour: str
    precedence: NotRequired[int]


@with_config(ConfigDict(extra="forbid"))
class ClassSchemeSetting(TypedDict):
    """The classes of an installation; `services.class_scheme` checks them and says what they mean."""

    classes: list[ClassSetting]
    unknown: NotRequired[ClassSetting]
    foreground: NotRequired[str]


RUN_TIME: Final[dict[str, JsonValue]] = {"run_time": True}
"""Marks a setting that may be changed while the system runs, on a page (`catalog.setting_changes`).

Every job, tick of the clock or request reads it anew; it shapes no data or network that exists already; it is no
address, folder, host or protective limit of the machine; and its range is so bounded that no value overflows."""


class Settings(BaseSettings):
    """The whole configuration of a process; immutable. Raises a `SettingsError` that lists everything at fault."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    var_dir: AbsolutePath = Field(
        Path("var"),
        validate_default=True,
        description="Folder of all variable data.",
        json_schema_extra={"group": "Where things live"},
    )
    database_url: Annotated[str, AfterValidator(database_address)] = Field(
        default_factory=lambda known: f"sqlite:///{known['var_dir'] / 'catalog.sqlite'}",
        repr=False,  # may hold a password
        description="SQLAlchemy URL; default: SQLite in `var_dir`.",
        json_schema_extra={"derived_from": "var_dir"},
    )
    raster_store: FolderOrUrl = Field(
        default_factory=lambda known: str(known["var_dir"] / "store"),
        description="Folder or fsspec URL of masks, maps and views; default: `var_dir`/store.",
        json_schema_extra={"derived_from": "var_dir"},
    )
    scene_root: AbsolutePath = Field(
        default_factory=lambda known: known["var_dir"] / "scenes",
        description="Scenes named in API requests are found below this folder; default: `var_dir`/scenes.",
        json_schema_extra={"derived_from": "var_dir"},
    )
    backup_folder: AbsolutePath | None = Field(
        None,
        description="Folder for the backups that an administrator makes by the dashboard, best on another disk; "
        "`null`: none can be made there.",
    )
    scene_hosts: list[str] = Field(
        [],
        description="Hosts, with the port if it is not the usual one, from which API requests may have scenes read "
        'over HTTP, e.g. `["data.example.org"]`; empty: none.',
    )
    secrets_file: AbsolutePath = Field(
        default_factory=lambda known: known["var_dir"] / "secrets.json",
        description="Tokens made at first start; default: `var_dir`/secrets.json.",
        json_schema_extra={"derived_from": "var_dir"},
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Form of the log lines of our own processes: text for people, or a JSON object a line."
    )

    api_url: WebAddress = Field(
        "http://127.0.0.1:8000",
        description="Our own address as Label Studio and the annotators' browsers reach it.",
        json_schema_extra={"group": "The services around us"},
    )
    allowed_hosts: list[str] = Field(
        [],
        description="Further names by which our own address may be called, without the port; a name that begins with a "
        "dot stands for all below it. The host of `api_url`, `localhost`, `127.0.0.1` and `::1` are always allowed.",
    )
    trusted_proxies: int = Field(
        0,
        ge=0,
        description="How many proxies in a row stand before our own address: the caller's address is then taken from "
        "the header `X-Forwarded-For`.",
    )
    redis_url: Annotated[str, AfterValidator(redis_address)] = Field(
        "redis://127.0.0.1:6379/0", repr=False, description="Redis, which carries only the job queue."
    )
    mlflow_url: WebAddress = Field("http://127.0.0.1:5000", description="MLflow tracking server and model registry.")
    label_studio_url: WebAddress = Field("http://127.0.0.1:8080", description="Label Studio as our servers reach it.")
    label_studio_public_url: PublicAddress = Field(
        "",
        description="Label Studio as browsers reach it, for links; default: `label_studio_url`.",
        json_schema_extra={"derived_from": "label_studio_url"},
    )
    mlflow_public_url: PublicAddress = Field(
        "",
        description="MLflow as browsers reach it, for links; default: `mlflow_url`.",
        json_schema_extra={"derived_from": "mlflow_url"},
    )
    label_studio_project: str = Field(
        "Glacier mapping", min_length=3, max_length=50, description="Title of the Label Studio project."
    )
    registered_model: str = Field("glacier-segmenter", description="Name of the model in the MLflow registry.")
    experiment: str = Field("glacier-active-learning", description="Name of the MLflow experiment.")

    class_scheme: ClassSchemeSetting | None = Field(
        None,
        description="Classes of this installation, as a table (docs/settings.md); `null`: background, clean ice and "
        "debris-covered ice. Stored with the first scene; afterwards a setting that says otherwise is refused.",
        json_schema_extra={"group": "Classes, patches and channels"},
    )
    patch_size_px: int = Field(512, ge=32, description="Side of a patch, unless the scene names its own.")
    patch_overlap_px: int = Field(0, ge=0, description="Overlap of neighbouring patches.")
    min_valid_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="A patch with a smaller share of valid pixels is never proposed.",
        json_schema_extra=RUN_TIME,
    )
    masked_flags: list[MaskedFlag] = Field(
        ["fill", "cloud", "cloud shadow", "cirrus"],
        description="Flags of quality bands (QA_PIXEL, SCL, Fmask, ...) that make a pixel unknown; stored with each "
        "scene when it is registered. Flags of snow and ice cannot be masked.",
        json_schema_extra=RUN_TIME,
    )
    channels: list[str] = Field(
        default_factory=list,
        description='Channels of the first model as a list, e.g. `["red", "ndsi"]`, or one set of a paper, e.g. '
        '`["baraka"]`; empty: those of the paper that `architecture` names, or else all bands of the pool.',
    )

    # The defaults are what learnt best from few labels (docs/benchmarks.md).
    architecture: Literal["default", "baraka", "aryal", "he"] = Field(
        "default",
        description="Network and training: ours, or those of a paper. `null` below: as the architecture has it.",
        json_schema_extra={"group": "The network and its training"},
    )
    head: Literal["multiclass", "binary", "two_binaries"] | None = Field(
        None,
        description="Task head: all classes, foreground (glacier) against background, or a network for each class, the "
        "higher precedence winning.",
    )
    input_normalization: Literal["dataset", "patch"] | None = Field(
        None, description="Normalise by the statistics of the pool or of each patch."
    )
    unet_depth: int | None = Field(None, ge=1, le=7, description="Number of down-samplings.")
    unet_width: int | None = Field(
        None, ge=1, le=256, description="Feature maps of the first level; each level doubles them."
    )
    unet_dropout: float | None = Field(
        None, gt=0, lt=1, description="Probability of the spatial dropout; `he` has none and needs one here."
    )
    unet_normalization: Literal["none", "batch"] | None = Field(
        None, description="Batch norm with each convolution, or none."
    )
    fine_tune_loss: (
        Literal[
            "cross_entropy",
            "binary_cross_entropy",
            "dice",
            "label_smoothed_dice",
            "masked_dice",
            "boundary",
            "combined",
            "slba",
            "dice_cross_entropy",
            "generalized_cross_entropy",
        ]
        | None
    ) = Field(
        None,
        description="Loss of a fine-tune; `null`: that of the architecture.",
        json_schema_extra=RUN_TIME,
    )
    fine_tune_loss_alpha: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Weight of masked Dice in the loss `combined`.",
        json_schema_extra=RUN_TIME,
    )
    fine_tune_steps: int = Field(
        400,
        ge=1,
        le=1_000_000,
        description="Optimiser steps of one fine-tune.",
        json_schema_extra=RUN_TIME,
    )
    fine_tune_batch_size: int = Field(
        8,
        ge=1,
        le=1024,
        description="Patches in a step.",
        json_schema_extra=RUN_TIME,
    )
    fine_tune_learning_rate: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Highest learning rate; `null`: that of the architecture.",
        json_schema_extra=RUN_TIME,
    )
    fine_tune_weight_decay: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Weight decay; `null`: that of the architecture.",
        json_schema_extra=RUN_TIME,
    )
    fine_tune_reference_labels: int = Field(
        40,
        ge=1,
        le=1_000_000,
        description="Number of labels for which steps and learning rate hold as they are set.",
        json_schema_extra=RUN_TIME,
    )
    fine_tune_steps_exponent: float = Field(
        0.0,
        ge=0,
        le=1,
        description="With n labels the steps are multiplied by (n / reference) to this power, but by 1/4 to 4 only; 0: "
        "always the same, 0.5: twice as many for four times the labels.",
        json_schema_extra=RUN_TIME,
    )
    fine_tune_rate_exponent: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="The same for the learning rate; negative: lower with more labels.",
        json_schema_extra=RUN_TIME,
    )
    fine_tune_ema_decay: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights, which becomes the version; 0: the last "
        "weights do; `null`: that of the architecture.",
        json_schema_extra=RUN_TIME,
    )
    training_seed: int = Field(
        0,
        ge=0,
        le=10**9,
        description="Added to the number of each training, which is the seed of its random numbers: with another one "
        "the same labels teach another version.",
        json_schema_extra=RUN_TIME,
    )
    calibration: Literal["temperature", "vector", "none"] = Field(
        "none",
        description="Calibration of a version's probabilities on the validation scenes: `temperature`, which leaves "
        "the class of each pixel as it is; `vector`, a scale and a shift of each class, which moves boundaries.",
        json_schema_extra=RUN_TIME,
    )
    map_orientations: Literal["one", "alternating", "all"] = Field(
        "alternating",
        description="In which orientations versions that are trained from now on predict maps, and are evaluated: "
        "`alternating` turns neighbouring windows, which overlap, differently, so that each pixel is a mean over four "
        "orientations, at no cost; `all` predicts each window in all eight: eight times the work; `one` turns nothing.",
        json_schema_extra=RUN_TIME,
    )
    fine_tune_after_labels: int = Field(
        20,
        ge=1,
        le=1_000_000,
        description="Number of new labels that starts a fine-tune.",
        json_schema_extra=RUN_TIME,
    )
    fine_tune_after_s: float = Field(
        3600.0,
        gt=0,
        le=10 * 366 * 86400,
        description="Age of the oldest unused label that starts a fine-tune, however few labels there are.",
        json_schema_extra=RUN_TIME,
    )
    prior_ring_m: float = Field(
        30.0,
        ge=0,
        le=1000,
        description="Pixels at most this far from an edge of prior outlines teach nothing, metres; stored with each "
        "scene when it is registered.",
        json_schema_extra=RUN_TIME,
    )
    prior_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the training patches that are drawn from prior outlines when there are few labels; 0: "
        "prior outlines teach only versions without any label.",
        json_schema_extra=RUN_TIME,
    )
    prior_share_halved_at: int = Field(
        40,
        ge=1,
        le=1_000_000,
        description="Number of labels at which that share has fallen to its half.",
        json_schema_extra=RUN_TIME,
    )
    prior_loss: Literal["generalized_cross_entropy"] | None = Field(
        None,
        description="Loss of these patches, in which wrong outlines weigh less; `null`: that of the labels.",
        json_schema_extra=RUN_TIME,
    )
    gate_confidence: float = Field(
        0.9,
        gt=0.5,
        lt=1,
        description="Confidence of the gate: a new version is served if its mean IoU on validation is higher than the "
        "champion's with this confidence, ...",
        json_schema_extra=RUN_TIME,
    )
    gate_margin: float = Field(
        0.05,
        ge=0,
        le=1,
        description="... or if it learnt from at least as many labels and is not lower with this confidence, and at "
        "most by this (1: always); ...",
        json_schema_extra=RUN_TIME,
    )
    gate_class_margin: float = Field(
        0.1,
        ge=0,
        le=1,
        description="... and if no class loses more IoU than this.",
        json_schema_extra=RUN_TIME,
    )
    gate_most_doubted: float = Field(
        0.4,
        ge=0,
        le=1,
        description="Share of the labels new to the champion that may stand out, as it doubts them; above it the gate "
        "tolerates no loss (1: heeds no doubt); `gate_margin = 1` overrules this.",
        json_schema_extra=RUN_TIME,
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where networks run.")
    torch_threads: int = Field(
        0, ge=0, description="CPU threads of a compute worker; 0: its share of the cores, all of them for a single one."
    )
    api_processes: int = Field(
        1,
        ge=1,
        description="Processes of the API that `up` starts; they share one port, and each uses one core at most.",
    )
    label_workers: int = Field(
        1, ge=1, description="Workers of label events that `up` starts; each uses one core while many events wait."
    )
    compute_workers: int = Field(
        0,
        ge=0,
        description="Compute workers that `up` starts: they share the scoring of the pool. 0: one for each GPU, else "
        "one. Several on a CPU score faster, but each fine-tunes with its share of the cores only.",
    )

    mc_passes: int = Field(
        20,
        ge=2,
        le=1000,
        description="Passes T of Monte-Carlo dropout.",
        json_schema_extra={"group": "Scoring and choosing", **RUN_TIME},
    )
    mc_seed: int = Field(
        0,
        ge=0,
        le=10**9,
        description="Seed of the dropout masks; stored with every score.",
        json_schema_extra=RUN_TIME,
    )
    mc_shortlist_share: float = Field(
        0.2,
        ge=0.2,
        le=1,
        description="Share of a large pool that gets all passes: the patches that one pass without dropout finds most "
        "uncertain, by either entropy. 1: the whole pool, which ranking by `mutual_information` or `variance_top10` "
        "needs.",
        json_schema_extra=RUN_TIME,
    )
    mc_margin_px: int = Field(
        0,
        ge=0,
        description="Context that is read around each patch for its scoring, pixels; it takes as much longer as the "
        "windows are larger.",
    )
    mc_precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Precision of the passes; `auto`: bfloat16 where the device computes in it."
    )
    scoring_version: Literal["learner", "champion"] = Field(
        "learner",
        description="Which version scores the pool and draws pre-annotations: the newest trained one, or the one that "
        "is served.",
        json_schema_extra=RUN_TIME,
    )
    inference_batch_size: int = Field(8, ge=1, description="Patches predicted together, for maps and evaluation.")
    keep_scorings: int = Field(
        2,
        ge=1,
        le=1000,
        description="Scorings whose scores, maps and views are kept; older ones are removed.",
        json_schema_extra=RUN_TIME,
    )
    prediction_keep_days: float = Field(
        90.0,
        ge=0,
        le=36_600,
        description="Days without use after which predictions by versions that are not in use are removed; 0: never.",
        json_schema_extra=RUN_TIME,
    )
    predictions_at_once: int = Field(
        8,
        ge=1,
        le=10_000,
        description="Predictions that may wait or run at once before API requests for others are put off.",
        json_schema_extra=RUN_TIME,
    )
    outline_smoothing_px: float = Field(
        0.0,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="Smoothing of delivered outlines in pixels; 0: exact, along pixel edges. 0.8 straightens stairs, 2 "
        "rounds off features of a few pixels.",
        json_schema_extra=RUN_TIME,
    )
    glacier_inventory: str | None = Field(
        None,
        description="File with the polygons of glaciers (RGI, GLIMS, or any with an id), for each of which the areas "
        "in a predicted scene are given with their intervals. `null`: totals of the scene only.",
    )
    round_size: int = Field(
        20,
        ge=1,
        le=10_000,
        description="Patches of a round, unless the request names another number.",
        json_schema_extra=RUN_TIME,
    )
    round_strategy: Strategy = Field(
        Strategy.RECIPE,
        description="How a round chooses, unless the request says otherwise.",
        json_schema_extra=RUN_TIME,
    )
    round_part: PatchPart = Field(
        PatchPart.WHOLE,
        description="What a round asks for of each patch, unless the request says otherwise: `whole`, its uncertain "
        "`areas` or its most uncertain `quarter`. Rounds without scores ask for whole patches.",
        json_schema_extra=RUN_TIME,
    )
    part_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Largest share of a patch that a round of uncertain areas asks for.",
        json_schema_extra=RUN_TIME,
    )
    random_start_rounds: int = Field(
        2,
        ge=0,
        le=1000,
        description="Number of random rounds at the beginning of the recipe; it then ranks by entropy_top10. None are "
        "needed once a version that learnt from prior outlines has scored the pool.",
        json_schema_extra=RUN_TIME,
    )
    control_share: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of every round by scores drawn at random, to measure what choosing gains.",
        json_schema_extra=RUN_TIME,
    )
    pool_control_share: float = Field(
        0.33,
        ge=0,
        le=1,
        description="Share of these controls drawn from the whole pool, rounded at random, so that it holds over "
        "several rounds. The others are drawn from the shortlist, the patches where foreground is predicted: so going "
        "where ice is and choosing there are measured apart.",
        json_schema_extra=RUN_TIME,
    )
    shortlist_foreground: float = Field(
        0.01,
        gt=0,
        le=1,
        description="Least share of its pixels that are foreground, predicted or in prior outlines, for a patch to be "
        "on the shortlist.",
        json_schema_extra=RUN_TIME,
    )
    double_label_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of every round that is labelled a second time, from an empty mask, to measure how far "
        "annotators agree and how far pre-annotations pull them. 0.1 suits a team of three.",
        json_schema_extra=RUN_TIME,
    )
    honeypot_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of every round drawn where the truth is known, to measure annotators; what is drawn there "
        "is never learnt from. 0.05 suits a team of three.",
        json_schema_extra=RUN_TIME,
    )
    second_look_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of every round that asks again for labelled patches whose labels the newest scoring "
        "contradicts, unless the request names a number; it mends labels. 0.05 suits a team of three.",
        json_schema_extra=RUN_TIME,
    )
    worthwhile_gain: float = Field(
        0.005,
        gt=0,
        le=1,
        description="Gain of mean IoU by a further round below which the dashboard says that labelling hardly pays. "
        "Nothing stops by itself.",
        json_schema_extra=RUN_TIME,
    )
    stable_kappa: float = Field(
        0.99,
        gt=0,
        le=1,
        description="Least kappa, in every class, between the predictions of successive versions on unlabelled patches "
        "that counts as agreement. After three in a row the dashboard says that labelling hardly pays.",
        json_schema_extra=RUN_TIME,
    )
    auto_rounds: bool = Field(
        False,
        description="Propose the next round by itself: the end of a round starts a fine-tune, however few labels are "
        "new, and the next round follows once it has scored the pool.",
        json_schema_extra=RUN_TIME,
    )
    preannotation: Literal["brush", "polygon", "none"] = Field(
        "brush",
        description="Form of the pre-annotations. A patch gets one where correcting it is expected to change fewer "
        "pixels than drawing from an empty mask.",
        json_schema_extra=RUN_TIME,
    )
    interactive_clicks: bool = Field(
        False,
        description="Offer clicks in Label Studio that mend the pre-annotation; not with polygons as pre-annotation. "
        "The bands of the patches of rounds under way are stored for it: 10 MB each at 512 px and ten bands.",
        json_schema_extra=RUN_TIME,
    )
    simulated_annotator_email: str = Field(
        "simulated-annotator@glacier.local",
        description="Labels by this Label Studio user are marked as simulated.",
    )

    mlflow_moves: Literal["obey", "undo"] = Field(
        "obey",
        description="What follows when somebody moves `champion` or `learner` in MLflow's own page: the move is "
        "recorded and, if the version is intact, obeyed; or it is undone. A damaged version is never served.",
        json_schema_extra={"group": "Serving", **RUN_TIME},
    )
    canary_change_limit: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of the pixels of the pool whose class may change when another version is served; above it "
        "an alert is raised. Nothing is rolled back by itself.",
        json_schema_extra=RUN_TIME,
    )
    canary_area_limit: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Change of the area of a class in these pixels, as a share of its larger area, above which the "
        "same alert is raised. 0.5: halved or doubled.",
        json_schema_extra=RUN_TIME,
    )
    event_hosts: list[str] = Field(
        [],
        description="Hosts, with the port if it is not the usual one, to which events may be sent "
        '(outgoing webhooks), e.g. `["hooks.example.org"]`; empty: none.',
    )

    image_url_lifetime_s: int = Field(
        30 * 86400,
        ge=60,
        description="How long a signed image URL is good.",
        json_schema_extra={"group": "Limits and intervals"},
    )
    log_in_lifetime_s: int = Field(
        12 * 3600, ge=60, description="After this time a person must log in to the pages again."
    )
    scene_max_pixels: int = Field(
        500_000_000,
        ge=1,
        description="Most pixels of a scene, or of a finer file on its ground; a tile of Sentinel-2 has 121 million.",
    )
    scene_max_patches: int = Field(200_000, ge=1, description="Most patches of a scene.")
    scene_check_timeout_s: float = Field(
        300.0, gt=0, description="Time in which the files of a scene that an API request names must be understood."
    )
    scene_check_memory_mib: int = Field(4096, ge=1024, description="Memory that this may take, MiB.")
    far_read_timeout_s: float = Field(
        20.0,
        gt=0,
        description="Time an API request may take to read from other machines: scenes at an address, a store at a URL.",
    )
    webhook_max_bytes: int = Field(16 * 2**20, description="Largest label event accepted.")
    upload_max_bytes: int = Field(64 * 2**20, gt=0, description="Largest file accepted that someone sends.")
    scene_upload_max_bytes: int = Field(
        16 * 2**30,
        gt=0,
        description="Largest file of a scene that an operator may send from a browser. It comes in parts.",
    )
    scene_upload_keep_days: float = Field(
        14.0,
        ge=0,
        description="Days after which files that were sent for a scene, and that no scene came to use, are removed; "
        "0: never.",
    )
    request_max_bytes: int = Field(2**20, description="Largest other request accepted.")
    job_timeout_s: int = Field(900, ge=1, description="Time limit of a job, if no other setting has one for it.")
    label_timeout_s: int = Field(60, ge=1, description="Time limit of the ingestion of a label event.")
    compute_timeout_s: int = Field(
        6 * 3600,
        ge=1,
        description="Time limit of scoring, prediction, comparison, fine-tuning, training a version again, data sets, "
        "outlines for GLIMS and their submissions, experiments, backups, checks of the installation, and reading a "
        "scene that is set aside.",
    )
    job_stale_after_s: float = Field(
        60.0, gt=0, description="A running job without a heartbeat for this long is given to another worker."
    )
    job_attempts: int = Field(
        3, ge=1, description="How often a failing job is tried; outages of services do not count."
    )
    sweep_interval_s: float = Field(
        5.0, gt=0, description="How often the database is searched for jobs that no worker has."
    )
    reconcile_interval_s: float = Field(
        600.0, gt=0, description="How often Label Studio is asked for events that its webhook lost."
    )
    full_reconcile_interval_s: float = Field(
        86_400.0, gt=0, description="How often all tasks are compared with Label Studio, instead of the changed ones."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments first, then the environment, then the file.

        A value is taken whole from one source: pydantic-settings would merge tables entry by entry.
        """
        arguments = init_settings()
        given = read_given(settings_cls.model_fields, arguments)
        values = {name: item.value for name, item in given.items() if name not in arguments}
        return init_settings, InitSettingsSource(settings_cls, values)

    # The last of the validators, since pydantic lets each take in those before it.
    @field_validator("interactive_clicks")
    @classmethod
    def _check_clicks(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("preannotation") == "polygon":
            raise ValueError("but clicks cannot mend polygons; expected the preannotation brush or none")
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _report_all_faults(cls, values: dict[str, Any], handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            found = faults(cls, error, values)
        # Outside of the handler: a traceback with pydantic's error would show the passwords in addresses.
        raise found

    @property
    def channel_choice(self) -> list[str]:
        """Channels of the first model, or the one set of a paper; empty: all bands of the pool.

        The sets are named as the architectures of the same papers.
        """
        return self.channels or ([] if self.architecture == "default" else [self.architecture])

    @property
    def label_studio_page(self) -> str:
        """Address at which browsers reach Label Studio."""
        return self.label_studio_public_url or self.label_studio_url

    @property
    def mlflow_page(self) -> str:
        """Address at which browsers reach MLflow."""
        return self.mlflow_public_url or self.mlflow_url

    def as_environment(self) -> dict[str, str]:
        """Return the environment variables that make another process read these very settings.

        Those that nobody has given are left out, so that they stay defaults there. The process does not read the file
        (`catalog.settings_sources.read_given`).
        """
        given = read_given(type(self).model_fields, {"var_dir": self.var_dir})
        values = self.model_dump(mode="json", include=self.model_fields_set | {"var_dir"})
        places = {name: given[name].place for name in values if name in given and given[name].origin == "file"}
        return {
            variable(name): value if isinstance(value, str) else json.dumps(value) for name, value in values.items()
        } | {HANDED_ON: json.dumps(places)}
