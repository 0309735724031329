"""Every setting, declared once: its type, default, unit and meaning.

A setting is read from the environment as ``GLACIER_AL_<NAME>``; ``docs/settings.md`` lists them all and a test keeps
that page complete. Units are in the names.
"""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "GLACIER_AL_"

AbsolutePath = Annotated[Path, AfterValidator(Path.resolve)]  # processes may have other working folders

# Read by set-up and start-up rather than by the running system (see labeling/server.py).
OUTSIDE_SETTINGS = frozenset({"GLACIER_AL_LABEL_STUDIO"})


class Strategy(StrEnum):
    """How the patches of a round are chosen."""

    RECIPE = "recipe"
    RANDOM = "random"
    ENTROPY_TOP10 = "entropy_top10"
    ENTROPY_MEAN = "entropy_mean"
    MUTUAL_INFORMATION = "mutual_information"


class UnknownSettingError(ValueError):
    """The environment names a setting that does not exist."""


class Settings(BaseSettings):
    """The whole configuration; immutable, and the only way any room learns of its surroundings."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_parse_none_str="null")

    # Where things live
    var_dir: AbsolutePath = Field(Path("var"), validate_default=True, description="Folder of all variable data.")
    database_url: str = Field(
        default_factory=lambda known: f"sqlite:///{known['var_dir'] / 'catalog.sqlite'}",
        repr=False,  # may hold a password
        description="SQLAlchemy URL; default: SQLite in `var_dir`.",
    )
    raster_store: str = Field(
        default_factory=lambda known: str(known["var_dir"] / "store"),
        description="Folder or fsspec URL of masks, maps and views; default: `var_dir`/store.",
    )
    scene_root: AbsolutePath = Field(
        default_factory=lambda known: known["var_dir"] / "scenes",
        description="Scenes named in API requests are found below this folder; default: `var_dir`/scenes.",
    )
    secrets_file: AbsolutePath = Field(
        default_factory=lambda known: known["var_dir"] / "secrets.json",
        description="Tokens made at first start; default: `var_dir`/secrets.json.",
    )

    # The services around us
    api_url: str = Field(
        "http://127.0.0.1:8000",
        description="Our own address as Label Studio and the annotators' browsers reach it.",
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0", repr=False, description="Redis, which carries only the job queue."
    )
    mlflow_url: str = Field("http://127.0.0.1:5000", description="MLflow tracking server and model registry.")
    label_studio_url: str = Field("http://127.0.0.1:8080", description="Label Studio as our servers reach it.")
    label_studio_public_url: str = Field(
        "", description="Label Studio as browsers reach it, for links; default: `label_studio_url`."
    )
    mlflow_public_url: str = Field("", description="MLflow as browsers reach it, for links; default: `mlflow_url`.")
    label_studio_project: str = Field(
        "Glacier mapping", min_length=3, max_length=50, description="Title of the Label Studio project."
    )
    registered_model: str = Field("glacier-segmenter", description="Name of the model in the MLflow registry.")
    experiment: str = Field("glacier-active-learning", description="Name of the MLflow experiment.")

    # Patches and channels
    patch_size_px: int = Field(512, ge=32, description="Side of a patch, unless the scene names its own.")
    patch_overlap_px: int = Field(0, ge=0, description="Overlap of neighbouring patches.")
    min_valid_share: float = Field(
        0.1, ge=0, le=1, description="A patch with a smaller share of valid pixels is never proposed."
    )
    channels: list[str] = Field(
        default_factory=list,
        description='Channels of the first model as a JSON list, e.g. `["red", "ndsi"]`, or one set of a paper, e.g. '
        '`["baraka"]`; empty: those of the paper that `architecture` names, or else all bands of the pool.',
    )

    # The network and its training; the defaults are what learnt best from few labels (docs/benchmarks.md)
    architecture: Literal["default", "baraka", "aryal", "he"] = Field(
        "default",
        description="Network and training: ours, or those of a paper. `null` below: as the architecture has it.",
    )
    head: Literal["multiclass", "binary", "two_binaries"] | None = Field(
        None, description="Task head: all classes, glacier against background, or two networks, debris winning."
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
        ]
        | None
    ) = Field(None, description="Loss.")
    fine_tune_loss_alpha: float = Field(0.5, ge=0, le=1, description="Weight of masked Dice in the loss `combined`.")
    fine_tune_steps: int = Field(400, ge=1, description="Optimiser steps of one fine-tune.")
    fine_tune_batch_size: int = Field(8, ge=1, description="Patches in a step.")
    fine_tune_learning_rate: float | None = Field(None, gt=0, description="Highest learning rate.")
    fine_tune_weight_decay: float | None = Field(None, ge=0, description="Weight decay.")
    fine_tune_after_labels: int = Field(20, ge=1, description="So many new labels start a fine-tune.")
    fine_tune_after_s: float = Field(
        3600.0,
        gt=0,
        description="So long after the oldest unused label a fine-tune starts with however many there are.",
    )
    gate_min_gain: float = Field(
        0.0,
        description="A new version is promoted if its mean IoU on validation gains at least this over its parent.",
    )
    gate_max_class_drop: float = Field(0.1, ge=0, description="... and no class loses more IoU than this.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where networks run.")
    torch_threads: int = Field(
        0, ge=0, description="CPU threads of a compute worker; 0: its share of the cores, all of them for a single one."
    )
    compute_workers: int = Field(
        0,
        ge=0,
        description="Compute workers that `up` starts: they share the scoring of the pool. 0: one for each GPU, else "
        "one. Several on a CPU score faster, but each fine-tunes with its share of the cores only.",
    )

    # Scoring and choosing
    mc_passes: int = Field(20, ge=2, description="Passes T of Monte-Carlo dropout.")
    mc_seed: int = Field(0, ge=0, description="Seed of the dropout masks; stored with every score.")
    mc_contested_share: float = Field(
        0.2,
        ge=0.2,
        le=1,
        description="Share of a large pool that all passes are spent on: what one pass without dropout finds most "
        "uncertain, by either entropy. 1: all of it, which ranking by `mutual_information` needs.",
    )
    mc_precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="What the passes are computed in; `auto`: bfloat16 where the device computes in it."
    )
    inference_batch_size: int = Field(8, ge=1, description="Patches predicted together, for maps and evaluation.")
    keep_scorings: int = Field(
        2, ge=1, description="Scorings whose scores, maps and views are kept; older ones are removed."
    )
    outline_smoothing_px: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Smoothing of delivered outlines in pixels; 0: exact, along pixel edges. 0.8 straightens stairs, 2 "
        "rounds off features of a few pixels.",
    )
    round_size: int = Field(20, ge=1, description="Patches of a round, unless the request names another number.")
    round_strategy: Strategy = Field(
        Strategy.RECIPE, description="How a round chooses, unless the request says otherwise."
    )
    random_start_rounds: int = Field(
        2, ge=1, description="The recipe begins with so many random rounds, then ranks by entropy_top10."
    )
    control_share: float = Field(
        0.1, ge=0, le=0.5, description="Share of every round drawn at random, to measure what choosing gains."
    )
    auto_rounds: bool = Field(False, description="Propose the next round as soon as the last is labelled and scored.")
    preannotation: Literal["brush", "polygon", "none"] = Field(
        "brush",
        description="Form of the pre-annotations; none are sent while the champion is no better than an empty mask.",
    )
    simulated_annotator_email: str = Field(
        "simulated-annotator@glacier.local",
        description="Labels by this Label Studio user are marked as simulated.",
    )

    # Limits and intervals
    image_url_lifetime_s: int = Field(30 * 86400, ge=60, description="How long a signed image URL is good.")
    webhook_max_bytes: int = Field(64 * 2**20, description="Largest label event accepted.")
    request_max_bytes: int = Field(2**20, description="Largest other request accepted.")
    job_timeout_s: int = Field(900, ge=1, description="Time limit of a job, unless it computes.")
    compute_timeout_s: int = Field(6 * 3600, ge=1, description="Time limit of scoring, prediction and fine-tuning.")
    job_stale_after_s: float = Field(
        60.0, gt=0, description="A running job without a heartbeat for so long is given to another worker."
    )
    job_attempts: int = Field(3, ge=1, description="So often a failing job is tried; outages of services do not count.")
    sweep_interval_s: float = Field(5.0, gt=0, description="How often rows are searched for work that nobody does.")
    reconcile_interval_s: float = Field(
        600.0, gt=0, description="How often Label Studio is asked for events that its webhook lost."
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_variables(cls, values: object) -> object:
        """pydantic-settings ignores an unknown variable; a misspelt setting must not be silently off."""
        known = {f"{PREFIX}{name}".upper() for name in cls.model_fields} | OUTSIDE_SETTINGS
        unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
        if unknown:
            raise UnknownSettingError(
                f"found the environment variable(s) {', '.join(unknown)}, which name no setting; "
                "docs/settings.md lists all settings"
            )
        return values

    @property
    def channel_choice(self) -> list[str]:
        """Channels of the first model, or the one set of a paper; empty: all bands of the pool.

        The sets are named as the architectures of the same papers.
        """
        return self.channels or ([] if self.architecture == "default" else [self.architecture])

    def as_environment(self) -> dict[str, str]:
        """Return the variables that make another process read these very settings."""
        values = self.model_dump(mode="json")
        return {
            f"{PREFIX}{name}".upper(): value if isinstance(value, str) else json.dumps(value)
            for name, value in values.items()
        }
