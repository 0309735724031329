"""Requests and responses of the HTTP API.

Generated from the OpenAPI document by ``python -m tools.client_types``; do not edit.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from glacier_al_client.base import OR_NEWER, Schema


class AnnotatorAnswer(Schema):
    """The account, and where its owner logs in."""

    address: str
    email: str


class AnnotatorRequest(Schema):
    """A new account in Label Studio, which logs in by an e-mail address."""

    email: str
    password: str


class Problem(Schema):
    """An error (RFC 9457)."""

    detail: str
    status: int
    title: str
    type: str


class AgreementAnswer(Schema):
    """How far a version and the one before it predict alike on a sample of unlabelled patches.

    Attributes:
        before: The newest earlier version whose maps were kept.
        kappa: Cohen's kappa over all classes; null if both predict a single class.
        kappa_of: The same of each class against the rest, in the order of `classes`; null if neither predicts it.
        least: The lowest of these kappas.
        patches: Number of patches compared.
        pixels_of: Pixels that either of them predicts to be of each class.
    """

    before: int
    kappa: float | None
    kappa_of: list[float | None]
    least: float | None
    patches: int
    pixels_of: list[int]
    version: int


Arm = Annotated[Literal["chosen", "shortlist", "pool"], OR_NEWER]
"""Who decided that a patch is labelled."""


class EstimateAnswer(Schema):
    """An estimated quantity with its 95 % interval (Student's t, unless a bootstrap is named).

    Attributes:
        count: Number of values that it is estimated from.
        low: Null where too few values tell nothing about the spread.
    """

    count: int
    high: float | None
    low: float | None
    value: float


class ArmAnswer(Schema):
    """The labels of one arm over all rounds by scores; each label is a unit of the intervals.

    Attributes:
        edited_px: Pixels a label that the annotator changed.
        minutes: Minutes a label; null without lead times.
        simulated: How many of them a simulated annotator drew, whose minutes are a program's.
        wrong_px: Those pixels a label.
        wrong_px_of: Those pixels a label by drawn class, in the order of `classes`.
        wrong_share: Share of the judged pixels that the version which scored the pool had wrong.
    """

    arm: Arm
    edited_px: EstimateAnswer | None
    labels: int
    minutes: EstimateAnswer | None
    simulated: int
    wrong_px: EstimateAnswer | None
    wrong_px_of: list[float]
    wrong_px_per_minute: EstimateAnswer | None
    wrong_share: EstimateAnswer | None


class ArmDifference(Schema):
    """One arm minus another, paired within rounds; the rounds are the units of the intervals."""

    minus: Arm
    minutes: EstimateAnswer | None
    of: Arm
    wrong_px: EstimateAnswer | None
    wrong_px_per_minute: EstimateAnswer | None


class ForecastAnswer(Schema):
    """What a round of `round_size` labels is expected to bring.

    Attributes:
        gain: Of mean IoU on the validation region, by all labels of the round together.
        labels: Labels of the newest version.
        minutes: Cost in minutes of annotators; null without lead times.
        more: Labels of the round.
        versions: Number of versions that the curve is fitted to.
    """

    gain: EstimateAnswer
    gain_per_label: EstimateAnswer
    gain_per_minute: EstimateAnswer | None
    labels: int
    minutes: EstimateAnswer | None
    more: int
    versions: int


Worth = Annotated[Literal["go on", "hardly pays", "cannot tell"], OR_NEWER]
"""Whether another round pays; a hint for people, on which nothing acts."""


class ArmsAnswer(Schema):
    """What choosing found compared with controls, and what a further round is expected to bring.

    Attributes:
        agreements: Of the newest three versions that were compared.
        has_stabilised: Whether all three agree with a kappa of `stable_kappa` in every class.
        next_round: Null with fewer than three versions.
        worth: `go on` if the gain is surely above `worthwhile_gain`; else `hardly pays` if it is surely below or
            predictions have stabilised; else `cannot tell`. Nothing acts on it.
    """

    agreements: list[AgreementAnswer]
    arms: list[ArmAnswer]
    classes: list[str]
    differences: list[ArmDifference]
    has_stabilised: bool
    next_round: ForecastAnswer | None
    worth: Worth


class LastBackupAnswer(Schema):
    """The newest backup, made here or by the command line.

    Attributes:
        left_out: What is not in it, and why.
    """

    files: int
    finished_at: datetime
    folder: str
    left_out: list[str]
    name: str


class BackupsAnswer(Schema):
    """Where backups go, and the newest.

    Attributes:
        folder: Of the setting backup_folder; null: none can be made here.
    """

    folder: str | None
    last: LastBackupAnswer | None


JobKind = Annotated[
    Literal[
        "tile_scene",
        "propose_round",
        "publish_round",
        "ingest_label",
        "fine_tune",
        "score_pool",
        "score_shard",
        "predict_scene",
        "predict_area",
        "sync_label_studio",
        "remove_tasks",
        "remove_superseded",
        "mend_files",
        "deliver_event",
        "compare_served",
        "compare_masks",
        "describe_scene",
        "export_glims",
        "compare_scenes",
        "back_up",
        "export_dataset",
        "check_installation",
        "reproduce_version",
        "export_submission",
        "run_experiment",
        "read_scene",
    ],
    OR_NEWER,
]
"""Kinds of jobs. ``workers.job_functions`` maps each kind to its function."""

JobState = Annotated[Literal["queued", "running", "finished", "failed", "cancelled"], OR_NEWER]
"""A job is open while queued or running."""


class JobAnswer(Schema):
    """A job: work that a worker does in the background.

    Attributes:
        progress: 0 to 1; null while unknown.
    """

    attempt: int
    created_at: datetime
    error: str | None
    eta_s: float | None
    finished_at: datetime | None
    id: str
    kind: JobKind
    message: str | None
    progress: float | None
    started_at: datetime | None
    state: JobState
    subject: dict[str, Any]


class AreaChangeAnswer(Schema):
    """The area of a class in both maps, as shares of the pixels compared.

    Attributes:
        change: As a share of the larger area: -1 (vanished) to 1 (new).
    """

    before: float
    change: float
    name: str
    now: float


class CanaryAnswer(Schema):
    """How far what was served after a decision maps the pool otherwise than what was served before.

    Attributes:
        alerts: The limits that are exceeded, and by what; empty: none.
        changed_share: Share of the pixels whose class changed, 0 to 1.
        to_go_back: The command that serves the version before again.
    """

    acknowledged_at: datetime | None
    acknowledged_by: str | None
    alerts: list[str]
    area_limit: float
    areas: list[AreaChangeAnswer]
    change_limit: float
    changed_share: float
    compared_at: datetime
    id: int
    note: str | None
    patches: int
    pixels: int
    previous_version: int | None
    to_go_back: str
    verdict: str
    version: int | None


class AcknowledgementRequest(Schema):
    """What a person found who looked at an alert; it is stored with the caller's name."""

    note: str


Subject = Annotated[Literal["prediction", "outlines", "priors"], OR_NEWER]
"""What is compared: maps of a version, outlines of the scenes, or prior outlines with what is there."""


class ChangeAnswer(Schema):
    """A change between two scenes, and the files that there are of it.

    Attributes:
        files: Addresses by kind (csv, gpkg, png, json), of a change that is asked for by its id; empty until it is
            done, and once they are removed; without gpkg if nothing changed.
        version: The model version; null for outlines.
    """

    earlier: int
    files: dict[str, str]
    id: str
    job: JobAnswer
    later: int
    of: Subject
    version: int | None


class ChangeRequest(Schema):
    """Which scenes to compare, the earlier one first; their ids.

    Attributes:
        later: May be the earlier one, if priors are compared.
        of: Maps of a model version; outlines registered with the scenes; or prior outlines of the earlier one with
            what the model confidently shows on the later one.
        version: The model version whose maps are compared; the served one if missing.
    """

    earlier: int
    later: int
    of: Subject = "prediction"
    version: int | None = None


class DataSetContents(Schema):
    """What a data set holds.

    Attributes:
        analysts: How many people drew them, a simulated annotator included.
        left_out: What is not in it, and why.
        model_version: The served model in it; null: none.
        simulated_labels: How many of them a simulated annotator drew.
        windows: Their number by part: train, validation, test.
    """

    analysts: int
    labels: int
    left_out: list[str]
    model_version: int | None
    simulated_labels: int
    size_bytes: int
    windows: dict[str, int]


Form = Annotated[Literal["geotiff", "npy", "stac"], OR_NEWER]
"""A form in which windows are written."""

SceneRole = Annotated[Literal["pool", "validation", "test"], OR_NEWER]
"""What a scene is used for. Fixed at registration: a pool scene must never judge a model, nor the reverse."""


class DataSetAnswer(Schema):
    """A data set, or one that is being made.

    Attributes:
        channels: Those asked for; none: all that the scenes share.
        contents: Null until it is made.
        file: Address of its zip; null until it is made.
        withdrawn_labels: How many of its labels were withdrawn since; null: not known, as an earlier release has
            made it.
    """

    asked_at: datetime
    asked_by: str
    channels: list[str]
    contents: DataSetContents | None
    file: str | None
    forms: list[Form]
    id: str
    job: JobAnswer
    licence: str
    roles: list[SceneRole]
    simulated: bool
    title: str
    withdrawn_labels: int | None


class DataSetRequest(Schema):
    """What a data set is to hold.

    Attributes:
        channels: Channels and sets of papers (baraka); none: all that the scenes share.
        forms: The forms in which windows are written.
        licence: SPDX identifier of the licence that the labels are given, e.g. CC-BY-4.0.
        model: Add the served model, if there is one, to the form stac.
        roles: Scenes of these roles; pool becomes the part train.
        simulated: Labels of a simulated annotator, too; they are marked as such.
    """

    channels: list[str] = Field([])
    forms: list[Form] = Field(["geotiff", "npy", "stac"])
    licence: str = "other"
    model: bool = True
    roles: list[SceneRole] = Field(["pool", "validation", "test"])
    simulated: bool = False
    title: str = "Glacier labels and image windows"


class ExpectationAnswer(Schema):
    """Expected edits against what people changed.

    Attributes:
        bias_px: Mean of expected minus changed pixels of a label.
        labels: Labels whose edits were estimated beforehand.
        rank_correlation: Spearman's, over the labels; null with fewer than three.
    """

    bias_px: float
    edited_px: int
    expected_px: float
    labels: int
    rank_correlation: float | None


class EffortAnswer(Schema):
    """What the standing labels of one kind cost.

    Attributes:
        asked: 'whole patches' or 'parts' of them.
        check: How good the expected edits were; null without any.
        edited_share: Pixels changed for each pixel asked for.
        seconds: Sum of Label Studio's lead times.
        seconds_per_1000_px: For 1000 pixels asked for; null without lead times.
        simulated: Drawn by the simulated annotator, whose seconds mean nothing.
        start: What their annotators started from: 'proposal' or 'empty mask'.
    """

    asked: str
    asked_px: int
    check: ExpectationAnswer | None
    edited_px: int
    edited_share: float
    labels: int
    seconds: float
    seconds_per_1000_px: float | None
    simulated: bool
    start: str


class ResultTableAnswer(Schema):
    """A table of results as text.

    Attributes:
        columns: Headings; the first is that of the names of the rows.
        rows: The cells of each row, its name first.
    """

    columns: list[str]
    rows: list[list[str]]
    title: str


class ExperimentContents(Schema):
    """Results.

    Attributes:
        mlflow: Where the MLflow run is: the tracking address.
        notes: What readers of the tables must know, and how the results were made.
        question: What was asked, and by which paper.
    """

    mlflow: str
    notes: list[str]
    question: str
    size_bytes: int
    tables: list[ResultTableAnswer]


class ExperimentOptions(Schema):
    """Which experiment of the papers is made, on which ground, with which networks.

    Attributes:
        architecture: Network and training: ours, or those of a paper.
        depth: Down-sampling steps; default: the architecture's.
        example: An example scene instead of registered ones.
        name: Name of the experiment.
        patch_size: Side of a window, pixels.
        scenes: Names of registered scenes with outlines, which may not overlap; none: all that have outlines.
        seeds: Networks trained per configuration, each with its own seed.
        split: How windows are divided into training, validation and test: in squares of 2 x 2 (fishnet), or each by
            itself (random).
        steps: Training steps per network.
        width: Feature maps of the first level; default: the architecture's.
    """

    name: Literal[
        "bands", "heads", "losses", "baselines", "debris-share", "geography", "saliency", "label-shares", "object-based"
    ]
    architecture: Literal["default", "baraka", "aryal", "he"] = "default"
    depth: int | None = None
    example: Literal["everest", "synthetic"] | None = None
    patch_size: int = 64
    scenes: list[str] = Field([])
    seeds: int = 3
    split: Literal["fishnet", "random"] = "fishnet"
    steps: int = 400
    width: int | None = None


class SimulationOptions(Schema):
    """What is simulated, and on which ground.

    Attributes:
        annotator: Brush: paints what is wrong; strokes: repaint what looks alike.
        example: An example scene instead of registered ones.
        patch_size: Side of a patch, pixels.
        round_size: Patches of a round.
        rounds: Rounds of labelling, the random first ones included.
        scenes: Names of registered scenes with outlines, which take the parts of their roles; a single one is cut
            into three strips; none: all that have outlines.
        seeds: Repetitions of every strategy, each with its own first labels.
        steps: Training steps of a round.
        strategies: Strategies to compare; none: the configured one, foreground_random and random.
    """

    annotator: Literal["brush", "strokes"] = "brush"
    example: Literal["everest", "synthetic"] | None = None
    patch_size: int = 64
    round_size: int = 6
    rounds: int = 6
    scenes: list[str] = Field([])
    seeds: int = 3
    steps: int = 100
    strategies: list[
        Literal[
            "recipe",
            "random",
            "entropy_top10",
            "entropy_mean",
            "mutual_information",
            "margin_top10",
            "variance_top10",
            "foreground_random",
            "foreground_entropy",
            "k_center_entropy",
            "class_entropy",
            "class_power_entropy",
            "power_entropy",
        ]
    ] = Field([])


class ExperimentAnswer(Schema):
    """A simulation or an experiment, or one that is being made.

    Attributes:
        contents: Null until it is made.
        experiment: Its options; null: it is a simulation.
        figure: Address of the figure as PNG.
        file: Address of a zip of all files; null until it is made, as the next two.
        name: Simulation, or the name of an experiment of the papers.
        question: What it asks.
        simulation: Its options; null: it is an experiment.
        table: Address of the tables as CSV.
    """

    asked_at: datetime
    asked_by: str
    contents: ExperimentContents | None
    experiment: ExperimentOptions | None
    figure: str | None
    file: str | None
    id: str
    job: JobAnswer
    name: str
    question: str
    simulation: SimulationOptions | None
    table: str | None


class GlimsFindingAnswer(Schema):
    """A requirement of GLIMS that a submission does not fulfil.

    Attributes:
        feature: The first that it concerns, from 0; null: the whole layer.
        message: What was found and what was expected.
        severity: Error: a published requirement is not met; warning: a wish, or what only the analyst can judge.
    """

    feature: int | None
    layer: str
    message: str
    severity: Literal["error", "warning"]


class CheckAnswer(Schema):
    """What the check of a submission found.

    Attributes:
        findings: Errors first, then warnings.
        fit: Whether no published requirement of GLIMS is missed.
    """

    findings: list[GlimsFindingAnswer]
    fit: bool


class SubmissionContents(Schema):
    """What a submission holds, and what the check found in it.

    Attributes:
        findings: Errors first, then warnings.
        fit: Whether no published requirement of GLIMS is missed.
        image_is_named: False: no identifier by its provider was found, and it is the scene's name.
        intervals: How many glaciers have a 95 % interval of the area.
        layers: Number of features by layer.
        left_out: Labels that are not in it, and why.
        of_inventory: How many glaciers have an id of the inventory.
        simulated_labels: How many of them a simulated annotator drew.
    """

    area_km2: float
    findings: list[GlimsFindingAnswer]
    fit: bool
    glaciers: int
    image_id: str
    image_is_named: bool
    intervals: int
    labels: int
    layers: dict[str, int]
    left_out: list[str]
    of_inventory: int
    simulated_labels: int
    size_bytes: int


class SubmissionOptions(Schema):
    """Of which scene outlines for GLIMS are made, and what is stated beside it.

    Attributes:
        acquired: Day of the image; null: that of the scene.
        analysts: 'Surname, Given names, Affiliation'; after 'ACCOUNT=', of this account alone; none: pseudonyms.
        geolocation_error_m: Of the image; null: as its provider states it.
        glacier_id: Field of the inventory that is sent with the ids; null: rgi_id, RGIId or glac_id.
        image_id: Identifier of the image by its provider; null: found in the names of the scene's files.
        instrument: Null: that of the scene's sensor.
        inventory: Divide connected ice along the inventory of the setting glacier_inventory, and keep its ids; one
            that is sent counts instead.
        inventory_layer: Layer of the inventory that is sent; needed only if the file has several.
        labels_only: Only what experts drew; the rest of the scene counts as unknown.
        line_types: Line type by name of a class, where the name does not tell it.
        min_area_km2: Smallest glacier.
        scene: Id of the scene.
        simulated: Labels of a simulated annotator count, too; they are marked as such.
        smoothing_px: Smoothing of outlines in pixels; null: the setting outline_smoothing_px.
        waiting: Labels of patches that wait for an annotator count, too: then keep the file from annotators.
    """

    scene: int
    acquired: date | None = None
    analysts: list[str] = Field([])
    geolocation_error_m: float | None = None
    glacier_id: str | None = None
    image_id: str | None = None
    instrument: str | None = None
    inventory: bool = False
    inventory_layer: str | None = None
    labels_only: bool = False
    line_types: dict[str, Any] = Field({})
    min_area_km2: float = 0.01
    simulated: bool = False
    smoothing_px: float | None = None
    waiting: bool = False


class SubmissionAnswer(Schema):
    """Outlines of a scene for GLIMS and RGI, or those that are being made.

    Attributes:
        contents: Null until it is made.
        file: Address of its zip; null until it is made.
        inventory: Name of the inventory that was sent; null: none was.
        scene: Name of the scene.
        version: Whose map counts where no expert judged; null: only what experts drew.
        withdrawn_labels: How many of its labels were withdrawn since; null: not known, as an earlier release has
            made it.
    """

    asked_at: datetime
    asked_by: str
    contents: SubmissionContents | None
    file: str | None
    id: str
    inventory: str | None
    job: JobAnswer
    options: SubmissionOptions
    scene: str
    version: int | None
    withdrawn_labels: int | None


FindingLevel = Annotated[Literal["ok", "warning", "fault"], OR_NEWER]
"""How bad a finding is."""


class FindingAnswer(Schema):
    """What one check found.

    Attributes:
        can_be_fixed: Whether a check with `fix` mends it.
        check: What was looked at.
        expected: Empty if that was found.
        fixed: What was done to mend it; null if nothing.
        level: Ok, warning or fault; ok if it was mended.
        remedy: What to do; empty if nothing.
    """

    can_be_fixed: bool
    check: str
    expected: str
    fixed: str | None
    found: str
    level: FindingLevel
    remedy: str


class InstallationReportAnswer(Schema):
    """What a check found.

    Attributes:
        by: Who asked for it.
        faults: How many are left.
        findings: In the order in which they were found.
        fix: Whether what can be mended safely was mended.
    """

    by: str
    faults: int
    findings: list[FindingAnswer]
    fix: bool
    job: JobAnswer
    made_at: datetime
    warnings: int


class InstallationChecksAnswer(Schema):
    """The newest check, and the newest report: of an earlier one until that check has ended.

    Attributes:
        last: The newest report; null: none yet.
        newest: The newest check, whatever its state; null: none yet.
    """

    last: InstallationReportAnswer | None
    newest: JobAnswer | None


class InstallationCheckRequest(Schema):
    """What a check is to do.

    Attributes:
        fix: Mend what can be mended safely; nothing that an annotator drew is deleted.
    """

    fix: bool = False


EventState = Annotated[Literal["received", "applied", "superseded", "failed"], OR_NEWER]
"""State of a label event. A failed event stores the reason and can be replayed."""


class EventAnswer(Schema):
    """An entry of the ledger of label events."""

    action: str
    annotation_id: int | None
    annotation_updated_at: datetime | None
    applied_at: datetime | None
    detail: str | None
    id: int
    origin: str
    project_id: int | None
    received_at: datetime
    state: EventState
    task_id: int | None


class DoubtedLabel(Schema):
    """A label that the champion doubts, which had not learnt it.

    Attributes:
        doubt: Loss of the champion on it beyond the loss that the champion expected, nats a pixel.
        label: Its id.
        proposal: The uid of the proposal that it answers.
    """

    doubt: float
    label: int
    proposal: str


class GainFigures(Schema):
    """A gain of IoU over the champion with its interval; null where undefined."""

    gain: float | None
    high: float | None
    low: float | None
    outcome: Literal["better", "not worse", "worse", "cannot tell"]


class GateFigures(Schema):
    """What a decision of the gate rests on."""

    block_px: int
    blocks: int
    blocks_needed: int | None
    champion_version: int
    class_margin: float
    confidence: float
    independent_blocks: float
    iou: dict[str, GainFigures]
    margin: float
    mean_iou: GainFigures
    too_small: bool


class ModelAnswer(Schema):
    """A model version with its IoU and its gain over the champion; undefined figures are null.

    Attributes:
        calibration_error: Expected calibration error on held-out validation windows, 'before' and 'after' the
            calibration, then by class; empty if the version was not calibrated.
        champion_version: The version that was served then, with which it is compared.
        doubted_labels: Labels that it learnt and that stand out, the most doubted first; its lineage names the
            annotators.
        faults: Tags in MLflow that could not be read; their figures are null.
        gain: Difference to the champion's IoU, in the same form.
        gate: Intervals that the verdict rests on; null for the first version.
        iou: By role of the region, then by class or 'mean'.
        parent_version: The version that its training started from.
        sha256: Checksum by file name.
        withdrawals: Withdrawals of labels that it learnt from, itself or through its parent; empty: none.
    """

    aliases: list[str]
    calibration_error: dict[str, dict[str, float | None]]
    champion_version: int | None
    created_at: datetime
    doubted_labels: list[DoubtedLabel]
    faults: list[str]
    gain: dict[str, dict[str, float | None]]
    gate: GateFigures | None
    iou: dict[str, dict[str, float | None]]
    labels: int
    labels_sha256: str
    parent_version: int | None
    sha256: dict[str, str]
    simulated_labels: int
    verdict: str
    verdict_reason: str
    version: int
    withdrawals: list[int]


class PromotionAnswer(Schema):
    """A decision about a version: promoted, kept, rolled back, set back (the learner); or a move made in MLflow.

    Attributes:
        completed_at: When it took effect.
        evidence: What the gate's decision rests on; null for others.
        version: Null: the alias was removed in MLflow.
    """

    actor: str
    completed_at: datetime
    decided_at: datetime
    evidence: GateFigures | None
    id: int
    previous_version: int | None
    reason: str
    verdict: str
    version: int | None


class ChampionAt(Schema):
    """The version that was served at a moment, and the decision by which.

    Attributes:
        version: Null: none was served.
    """

    at: datetime
    decision: PromotionAnswer | None
    version: int | None


class DecisionRequestAnswer(Schema):
    """A promotion or roll-back that somebody asked for, and what became of it.

    Attributes:
        decision: The decision that came of it; null if there is none (yet).
        fault: Why it was refused, or still waits.
        from_version: The version that it is to replace; null: whichever is served.
        version: The version to be served; null: the one before the champion.
    """

    actor: str
    decision: PromotionAnswer | None
    ended_at: datetime | None
    fault: str | None
    from_version: int | None
    id: int
    reason: str
    requested_at: datetime
    state: Literal["waiting", "done", "refused"]
    version: int | None


class PromotionRequest(Schema):
    """The reason for a promotion or roll-back, and what it is to replace; stored with the caller's name.

    Attributes:
        from_version: The version that you see served; refused if it is another by then.
    """

    reason: str
    from_version: int | None = None


class TrackAnswer(Schema):
    """What was trained, and what was served after the gate's decision on it.

    Attributes:
        high: The upper end.
        low: Lower end of the gate's interval for the mean IoU on validation: the interval of the gain, added to the
            figure of the version that was served when its training began; null for the first version.
        mean_iou: Of the version, by role of the region.
        served_mean_iou: Of the version that was served then, on the same scenes; without a role where it is not
            known.
    """

    high: float | None
    labels: int
    low: float | None
    mean_iou: dict[str, float | None]
    served_mean_iou: dict[str, float | None]
    served_version: int | None
    version: int


class Cause(Schema):
    """Why a patch was proposed to the annotator who drew a label, or that a person corrected it on the map.

    Attributes:
        part: What of the patch was asked for.
        passes: Of Monte Carlo dropout.
        reason: For all but operators, second labels and honeypots have that of another patch of the round.
        round: Null: a person corrected the map of their own accord.
        score: Of the patch, by the round's measure; null for random choices, and for all but operators.
        scored_by: The version whose scores the round was chosen by; null: none.
    """

    measure: str | None
    part: str | None
    passes: int | None
    rank: int
    reason: str
    round: int | None
    round_seed: int | None
    score: float | None
    scored_by: int | None
    scoring_seed: int | None
    strategy: str | None


class LearntLabel(Schema):
    """A label that a version of the line learnt from.

    Attributes:
        annotator: The account for operators, a pseudonym for readers.
        doubt: If it stood out when a version of the line first learnt it: loss of the champion on it beyond the
            loss that the champion expected, nats a pixel; null: it did not stand out.
        event: The label event that it was drawn from.
        proposal: The uid of the proposal that it answers.
        superseded_at: When it was updated, deleted or withdrawn; null: it stands.
        withdrawal: The withdrawal that took it; null: none.
    """

    annotated_at: datetime
    annotator: str
    cause: Cause
    col_off: int
    doubt: float | None
    event: int
    id: int
    mask_sha256: str
    patch: int
    proposal: str
    row_off: int
    scene: str
    simulated: bool
    size_px: int
    superseded_at: datetime | None
    withdrawal: int | None


class AffectedBy(Schema):
    """A withdrawal that affects a version.

    Attributes:
        directly: Whether the version itself learnt from the labels, or only those before it.
    """

    directly: bool
    withdrawal: int
    withdrawn_at: datetime


class Training(Schema):
    """How one version of the line was trained.

    Attributes:
        affected_by: Withdrawals of labels that it learnt from.
        champion_version: The version that the gate compared it with; null: none.
        environment: Where it was trained; null in older cards.
        fault: Why something of the above is missing; null: nothing is.
        labels_sha256: Checksum of the ids and masks of its labels.
        parent_version: The version that it was trained from; null: a fresh network.
        priors: The prior outlines that it learnt from; null: none.
        run: The training run; null if this database does not know it.
        settings: Of the training, from the card; null without a card.
    """

    affected_by: list[AffectedBy]
    began_at: datetime | None
    champion_version: int | None
    code_version: str | None
    environment: dict[str, Any] | None
    fault: str | None
    label_ids: list[int]
    labels_sha256: str | None
    mlflow_run: str | None
    parent_version: int | None
    priors: dict[str, Any] | None
    run: int | None
    seed: int | None
    settings: dict[str, Any] | None
    trigger: str | None
    version: int
    weights_sha256: str | None


class Lineage(Schema):
    """Where a version comes from.

    Attributes:
        labels: All that these learnt from, each once, ordered by id; for all but operators, without those of
            patches that wait for an annotator.
        trainings: Of the version, of its parent, and so on to the first.
    """

    labels: list[LearntLabel]
    learnt_from_withdrawn_labels: bool
    trainings: list[Training]
    version: int


ReproductionOutcome = Annotated[Literal["exact", "within", "outside"], OR_NEWER]
"""How a version that was trained again compares with the registered one."""


class ToleranceAnswer(Schema):
    """How much a version that was trained again may differ.

    Attributes:
        metric: How much the mean IoU, or the IoU of a class, may differ.
        pixels: Share of the pixels of the validation scenes that may change their class.
    """

    metric: float
    pixels: float


class ReproductionReport(Schema):
    """A version that was trained again, compared with what was registered.

    Attributes:
        exact: Each weight is the same.
        largest_difference: Largest absolute difference of a weight; null if it is not a finite number, as the next
            two.
        largest_metric_difference: 1 if only one of two values is undefined.
        metrics: By role of the scenes, then by class or 'mean': the IoU of the registered version, and of the one
            that was trained again; null where undefined.
        notes: What differs from the training, or could not be compared.
        outcome: Outside of the tolerance; else exact if each weight is the same; else within.
        rms_difference: Root mean square of the differences of the weights.
        rms_weight: Root mean square of the registered weights, for comparison.
        same_circumstances: Whether code, precision, device, threads and torch are those of the training, on a CPU.
        same_class: Share of the pixels of the validation scenes that both map as one class.
    """

    exact: bool
    largest_difference: float | None
    largest_metric_difference: float
    metrics: dict[str, dict[str, tuple[float | None, float | None]]]
    notes: list[str]
    outcome: ReproductionOutcome
    rms_difference: float | None
    rms_weight: float | None
    same_circumstances: bool
    same_class: float
    tolerance: ToleranceAnswer
    version: int
    within_tolerance: bool


class ReproductionAnswer(Schema):
    """A report, and the job that left it: its subject holds what was asked for, `finished_at` when it was made."""

    job: JobAnswer
    report: ReproductionReport


class ReproductionsAnswer(Schema):
    """Whether a version is being trained again, and what was found last.

    Attributes:
        job: The newest that was asked for, whatever became of it; null: none.
        last: The newest that has an outcome; null: none.
    """

    job: JobAnswer | None
    last: ReproductionAnswer | None


class ReproductionRequest(Schema):
    """How to train a version again, and how far it may differ; what is missing is as it was trained.

    Attributes:
        metric: How much the mean IoU, or the IoU of a class, may differ; null: likewise.
        pixels: Share of the pixels of the validation scenes that may change their class; null: 0 if code, device,
            threads, precision and torch are those of the training, else 0.1.
        precision: Of the passes.
        threads: CPU threads of torch.
    """

    metric: float | None = None
    pixels: float | None = None
    precision: Literal["float32", "bfloat16"] | None = None
    threads: int | None = None


class AreaAnswer(Schema):
    """A prediction of an area, and the files that there are of it.

    Attributes:
        files: Addresses by kind (tif, geojson, gpkg, ...); empty until it is done.
        version: The model version.
    """

    files: dict[str, str]
    id: str
    job: JobAnswer
    name: str
    version: int


Level = Annotated[
    Literal["surface", "top of atmosphere", "top of atmosphere, not corrected for the height of the sun"], OR_NEWER
]
"""What a reflectance refers to. Levels differ by haze, so scenes of two do not mix in one pool."""


class ComparisonAnswer(Schema):
    """How far masks agree with others of the same patches; the patches are the units of the intervals (bootstrap).

    Attributes:
        agreement: Share of these of which both name the same class.
        iou: In the order of `classes`; null for one that neither names.
        left_out: Share of the pixels of which the other side names a class, and the annotator none.
        pixels: Pixels of which both name a class.
    """

    agreement: EstimateAnswer | None
    iou: list[EstimateAnswer | None]
    left_out: EstimateAnswer | None
    patches: int
    pixels: int


class BiasAnswer(Schema):
    """Labels drawn from the pre-annotation against labels of the same patches drawn from an empty mask.

    Attributes:
        blind: The latter with the pre-annotation that was not shown.
        labels: The two labels with each other.
        preannotated: The former with the pre-annotation.
        pull: Agreement of the former with the pre-annotation minus that of the latter.
        pull_iou: The same difference of the IoU of each class.
    """

    blind: ComparisonAnswer
    labels: ComparisonAnswer
    preannotated: ComparisonAnswer
    pull: EstimateAnswer | None
    pull_iou: list[EstimateAnswer | None]


class ReferenceAnswer(Schema):
    """A patch whose label an operator accepted as the truth.

    Attributes:
        answers: Labels by other people that are compared with it.
        is_removed: Whether the scene of the patch was removed.
        stands: False if the label was changed, deleted or withdrawn: nothing is compared with it.
    """

    annotator: str
    answers: int
    is_removed: bool
    label_id: int
    patch_id: int
    stands: bool


class QualityAnswer(Schema):
    """The quality of the standing labels.

    Attributes:
        bias: Null without a patch that was labelled both ways by two people.
        pending: Comparisons not made yet, by a job; what they are of is left out of the figures.
        same_person: Second labels that do not count, because the same person drew the first.
    """

    annotators: list[AnnotatorAnswer]
    bias: BiasAnswer | None
    classes: list[str]
    pending: int
    references: list[ReferenceAnswer]
    same_person: int


class AcceptedAnswer(Schema):
    """A label, and the patch of which it is, or was, the truth."""

    label_id: int
    patch_id: int


class ReconciliationAnswer(Schema):
    """A comparison with Label Studio that was full or found a difference.

    Attributes:
        event_ids: The label events by which it was mended.
        full_because: Why all tasks were compared; null: those that had changed.
        mended: What no webhook had told, by action of the events recorded for it.
        read: Of them, how many were read because they had changed.
        tasks: That Label Studio had.
    """

    event_ids: list[int]
    full_because: str | None
    id: int
    mended: dict[str, int]
    project_id: int
    read: int
    seconds: float
    started_at: datetime
    tasks: int


PatchPart = Annotated[Literal["whole", "areas", "quarter"], OR_NEWER]
"""What a round asks for of each patch: all of it, its uncertain areas, or its most uncertain quarter."""

RoundState = Annotated[Literal["choosing", "publishing", "open", "complete", "failed", "abandoned"], OR_NEWER]
"""A round is chosen, published, open to annotators, and complete once no proposal waits for an annotator."""

Strategy = Annotated[
    Literal[
        "recipe",
        "random",
        "entropy_top10",
        "entropy_mean",
        "mutual_information",
        "margin_top10",
        "variance_top10",
        "foreground_random",
        "foreground_entropy",
        "k_center_entropy",
        "class_entropy",
        "class_power_entropy",
        "power_entropy",
        "prior_disagreement",
    ],
    OR_NEWER,
]
"""How the patches of a round are chosen."""


class RoundAnswer(Schema):
    """A round with its progress.

    Attributes:
        expected_edits_px: Pixels that annotators are expected to change in the proposals for which that was
            estimated; null without any.
        measure: By which the patches are ranked; null if the strategy does not rank.
        model_version: Version whose scores ranked the pool; null for a random round.
        part: What is asked for of each patch.
        proposals: Number of proposals in each state.
        ranking_agreement: Stability of that ranking, 0 to 1: `agreement` of the scoring for the measure of the
            ranking.
        reasons: Number of proposals for each reason; for all but operators, shortlist controls count as random
            controls, and second labels and honeypots as other patches of the round.
    """

    completed_at: datetime | None
    created_at: datetime
    error: str | None
    expected_edits_px: float | None
    id: int
    measure: str | None
    model_version: int | None
    part: PatchPart
    proposals: dict[str, int]
    published_at: datetime | None
    ranking_agreement: float | None
    reasons: dict[str, int]
    seed: int
    size: int
    state: RoundState
    strategy: Strategy


class RoundAccepted(Schema):
    """An opened round and the job that chooses its patches."""

    job: JobAnswer
    round: RoundAnswer


class RoundRequest(Schema):
    """A round to open; a missing field is taken from the settings.

    Attributes:
        part: What to ask for of each patch.
        second_looks: How many of the patches are labelled ones that the newest scoring contradicts.
    """

    part: PatchPart | None = None
    second_looks: int | None = None
    seed: int | None = None
    size: int | None = None
    strategy: Strategy | None = None


class PriorAnswer(Schema):
    """Outlines of an earlier inventory, from which versions learn as weak labels.

    Attributes:
        classes: The classes that are outlined.
        date: When they were drawn from images: a day, month or year.
        ring_m: Pixels at most this far from an edge teach nothing, metres.
        sha256: Checksum of the geometries near the scene.
    """

    classes: list[str]
    date: str | None
    ring_m: float
    sha256: str
    source: str | None


SceneState = Annotated[Literal["registered", "ready", "rejected", "removed"], OR_NEWER]
"""Registered scenes become ready once tiled, or are rejected with a reason; any may be removed."""


class SceneAnswer(Schema):
    """A registered scene.

    Attributes:
        acquired: When the image was taken: a day, or a time in UTC.
        channels: Possible inputs of a model: bands, extras, terrain, indices.
        level: What reflectances refer to; null for digital numbers.
        product: What was understood at registration: kind, notes, shares of pixels; null for scenes from before.
        units: Unit of each band.
    """

    acquired: str | None
    bands: list[str]
    channels: list[str]
    crs: str
    error: str | None
    footprint: dict[str, Any]
    has_outlines: bool
    height: int
    id: int
    level: str | None
    name: str
    patch_size_px: int
    patches: int
    prior_outlines: PriorAnswer | None
    product: dict[str, Any] | None
    registered_at: datetime
    role: SceneRole
    sensor: str | None
    state: SceneState
    units: dict[str, str]
    width: int


class Outcome(Schema):
    """What was registered.

    Attributes: scene_id: The scene. job_id: The job that tiles it. labels_kept: Labels of the replaced scene that
    stand on. labels_superseded: Labels of the replaced scene that do not count any more. learnt_from: Versions that
    learnt from labels of the replaced scene.
    """

    job_id: str
    scene_id: int
    labels_kept: int = 0
    labels_superseded: int = 0
    learnt_from: list[int] = Field([])


class ClassSummary(Schema):
    """What the outlines give to a class."""

    area_km2: float
    class_: str = Field(alias="class")
    pixels: int
    polygons: int


class ElevationSummary(Schema):
    """The digital elevation model.

    Attributes:
        coverage: Share of the usable pixels that have elevation, 0 to 1.
        lowest_m: Lowest elevation of at most 256 × 256 pixels, metres.
    """

    coverage: float
    files: list[str]
    highest_m: float
    lowest_m: float


class LeftOut(Schema):
    """A file, band or asset that is not used."""

    file: str
    reason: str


class OutlineSummary(Schema):
    """A layer of outlines, or the part of one that a field tells apart.

    Attributes:
        drawn_from: The period of the dates of images that features must have been drawn from.
    """

    class_: str = Field(alias="class")
    class_field: str | None
    class_values: list[str]
    drawn_from: str | None
    drawn_to: str | None
    file: str
    layer: str | None
    notes: list[str]
    polygons: int


class PixelShares(Schema):
    """Shares of the scene's pixels, 0 to 1, from at most 512 × 512 of them.

    Attributes:
        flags: By flag, of the pixels that have data; masked or not.
        no_data: Fill, gaps, and what lies outside the border.
        usable: Has data, and no masked flag is raised.
    """

    flags: dict[str, float]
    no_data: float
    usable: float


class PriorSummary(Schema):
    """Outlines of an earlier inventory, from which versions learn as weak labels.

    Attributes:
        date: When they were drawn from images: a day, month or year.
        ring_m: Pixels at most this far from an edge teach nothing, metres.
    """

    classes: list[ClassSummary]
    date: str | None
    outlines: list[OutlineSummary]
    ring_m: float
    source: str | None


class QualitySummary(Schema):
    """A band of flags.

    Attributes:
        masked: Flags that make a pixel unknown.
        table: How it is decoded; null: it is not, and masks nothing.
    """

    file: str
    masked: list[str]
    name: str
    table: str | None


class RasterSummary(Schema):
    """A band or a further channel: value = stored number × `scale` + `offset`, in `unit`.

    Attributes:
        nodata: Stored number that means no data, besides what the file declares.
        resampled: Lies on another grid than the scene's, onto which it is resampled.
    """

    file: str
    index: int
    name: str
    nodata: float | None
    offset: float
    resampled: bool
    scale: float
    unit: str


class SceneSummary(Schema):
    """What was understood about a scene.

    Nothing is stored yet.

    Attributes:
        center: Longitude and latitude of the scene's middle, in degrees (WGS 84).
        channels: All possible inputs of a model.
        cloud_share: Share of the pixels with data that the quality bands call cloud, 0 to 1; null without such a
            band.
        level: What reflectances refer to; null for digital numbers, or if unknown.
        notes: Guesses and warnings: read them before you use the scene.
        pixel_size: Width and height of a pixel in `pixel_unit`.
        pixel_size_m: Width and height of the middle pixel on the ground, metres.
        pixel_unit: Unit of the CRS.
        provider_cloud_percent: As the product's metadata state it.
    """

    acquired: str | None
    bands: list[RasterSummary]
    border: str | None
    center: tuple[float, float]
    channels: list[str]
    classes: list[ClassSummary]
    cloud_share: float | None
    crs: str
    elevation: ElevationSummary | None
    further_channels: list[RasterSummary]
    height: int
    kind: str
    left_out: list[LeftOut]
    level: Level | None
    name: str
    notes: list[str]
    outlines: list[OutlineSummary]
    patch_size_px: int
    pixel_size: tuple[float, float]
    pixel_size_m: tuple[float, float]
    pixel_unit: str
    pixels: PixelShares
    product_id: str | None
    provider_cloud_percent: float | None
    quality: list[QualitySummary]
    role: SceneRole
    sensor: str | None
    width: int
    prior_outlines: PriorSummary | None = None


class SceneRequestAnswer(Schema):
    """A request about a scene whose files lie on another machine, and what came of it.

    Attributes:
        fault: Why it was refused.
        job_id: The job that carries it out.
        outcome: What was registered; null for a dry run, and unless it is done.
        replaces: Number of the scene to replace; null: a new scene.
        summary: What was understood; null unless it is done.
    """

    dry_run: bool
    ended_at: datetime | None
    fault: str | None
    id: int
    job_id: str
    outcome: Outcome | None
    replaces: int | None
    requested_at: datetime
    state: Literal["waiting", "done", "refused"]
    summary: SceneSummary | None


class SceneAccepted(Schema):
    """A registered scene and the job that tiles it, or a request and the job that carries it out.

    Attributes:
        request: The request, if its files lie on another machine.
        scene: Null if its files lie on another machine, until the job has read them.
    """

    job: JobAnswer
    scene: SceneAnswer | None
    request: SceneRequestAnswer | None = None


class BandRequest(Schema):
    """Where a band is: a file below the scene root and the band's place in it."""

    name: str
    path: str
    index: int = 1


class BorderRequest(Schema):
    """Polygons outside of which nothing is known: a vector file below the scene root."""

    path: str
    layer: str | None = None


class ChannelRequest(Schema):
    """A further channel, such as radar coherence, velocity or elevation change."""

    name: str
    path: str
    index: int = 1
    nodata: float | None = None
    offset: float | None = None
    scale: float | None = None
    unit: str | None = None


class DemRequest(Schema):
    """A digital elevation model, or a tile of one; without a `unit` in the file or here, it is in metres."""

    path: str
    index: int = 1
    nodata: float | None = None
    offset: float | None = None
    scale: float | None = None
    unit: str | None = None


class OutlineRequest(Schema):
    """Outlines: a vector file below the scene root, and which class they are of.

    Either all are of one ``class``, or ``classes`` maps the values of the attribute ``class_field`` to classes.
    With neither, the classes are recognised from the file's fields, values and names, or the request is refused.
    With ``drawn_from`` or ``drawn_to`` only features are used whose dates, by their attributes, lie in that period.

    Attributes:
        drawn_from: Only outlines drawn from images of this day, month or year, or later.
        drawn_to: Only outlines drawn from images of this day, month or year, or earlier.
    """

    path: str
    class_: str | None = Field(None, alias="class")
    class_field: str | None = None
    classes: dict[str, str] = Field({})
    drawn_from: str | None = None
    drawn_to: str | None = None
    layer: str | None = None


class RegionRequest(Schema):
    """A part of the files, in pixels of the one that sets the grid."""

    col_off: int
    height: int
    row_off: int
    width: int


class SceneRequest(Schema):
    """A scene to register: either ``path`` (a product's folder, archive or file, a STAC item) or ``bands``.

    The grid of the first of ``bands`` is the scene's, flags apart, or that of a product's finest band; bands of
    another resolution or CRS are resampled onto it. What a product says need not be said again: ``name`` (of the
    product), ``sensor``, ``acquired`` (when the image was taken; outlines carry its day, UTC), ``level`` (what
    reflectances refer to). ``unit`` says that bands hold reflectances where nothing else does, or keeps their
    stored numbers. ``masked`` names the flags that make a pixel unknown, instead of the setting. Several ``dem``
    are tiles, the most trusted first. ``outlines`` are true of the scene; ``prior_outlines`` need not be.
    ``dry_run`` describes the scene and stores nothing.

    Attributes:
        allow_mixed_levels: Take a scene of another level than that of the others.
        allow_partial_dem: Take a DEM that covers only a part of the scene.
        dry_run: Describe the scene, and store nothing.
        prior_date: When they were drawn from images; by default guessed from their attributes.
        prior_outlines: Outlines of an earlier inventory, which versions learn from as weak labels; pool scenes
            only.
        prior_source: Who drew them; by default guessed from their fields.
    """

    role: SceneRole
    acquired: datetime | date | None = None
    allow_mixed_levels: bool = False
    allow_partial_dem: bool = False
    bands: list[BandRequest] | None = None
    border: BorderRequest | None = None
    channels: list[ChannelRequest] = Field([])
    dem: list[DemRequest] = Field([])
    dry_run: bool = False
    level: Level | None = None
    masked: list[str] | None = None
    name: str | None = None
    nodata: float | None = None
    outlines: list[OutlineRequest] = Field([])
    patch_overlap_px: int | None = None
    patch_size_px: int | None = None
    path: str | None = None
    prior_date: str | None = None
    prior_outlines: list[OutlineRequest] = Field([])
    prior_source: str | None = None
    region: RegionRequest | None = None
    sensor: str | None = None
    unit: Literal["reflectance", "digital number"] | None = None


class FolderAnswer(Schema):
    """A folder that takes files.

    Attributes:
        file_max_bytes: Largest file.
        keep_days: Days after which it is removed if no scene uses it; 0: never.
        name: The wanted name, or that with a number if it is taken.
        part_max_bytes: Largest part of a file in one request.
        path: As a request to register a scene names it.
    """

    file_max_bytes: int
    keep_days: float
    name: str
    part_max_bytes: int
    path: str


class FolderRequest(Schema):
    """A folder for the files of one upload."""

    name: str


class PartAnswer(Schema):
    """How much of a file is there.

    Attributes:
        path: As a request to register a scene names it.
    """

    path: str
    received: int
    size: int


class ReplacementAccepted(Schema):
    """The new scene, its tiling, and what became of the labels; these are 0 while a request waits.

    Attributes:
        learnt_from: Versions that learnt from labels of the replaced scene; they stay.
        request: The request, if its files lie on another machine.
        scene: Null if its files lie on another machine, until the job has read them.
    """

    job: JobAnswer
    scene: SceneAnswer | None
    labels_kept: int = 0
    labels_superseded: int = 0
    learnt_from: list[int] = Field([])
    request: SceneRequestAnswer | None = None


class ReplacementRequest(Schema):
    """A new description of a registered scene; its name stays.

    ``labels`` says what becomes of labels that were drawn on it: they are kept, if their pixels stay where they
    are, or discarded. Without it, a scene with labels is not replaced.

    Attributes:
        allow_mixed_levels: Take a scene of another level than that of the others.
        allow_partial_dem: Take a DEM that covers only a part of the scene.
        dry_run: Describe the scene, and store nothing.
        prior_date: When they were drawn from images; by default guessed from their attributes.
        prior_outlines: Outlines of an earlier inventory, which versions learn from as weak labels; pool scenes
            only.
        prior_source: Who drew them; by default guessed from their fields.
    """

    role: SceneRole
    acquired: datetime | date | None = None
    allow_mixed_levels: bool = False
    allow_partial_dem: bool = False
    bands: list[BandRequest] | None = None
    border: BorderRequest | None = None
    channels: list[ChannelRequest] = Field([])
    dem: list[DemRequest] = Field([])
    dry_run: bool = False
    labels: Literal["keep", "discard"] | None = None
    level: Level | None = None
    masked: list[str] | None = None
    name: str | None = None
    nodata: float | None = None
    outlines: list[OutlineRequest] = Field([])
    patch_overlap_px: int | None = None
    patch_size_px: int | None = None
    path: str | None = None
    prior_date: str | None = None
    prior_outlines: list[OutlineRequest] = Field([])
    prior_source: str | None = None
    region: RegionRequest | None = None
    sensor: str | None = None
    unit: Literal["reflectance", "digital number"] | None = None


class CorrectionAnswer(Schema):
    """A correction in the ledger.

    Attributes:
        edited_px: Judged pixels whose class differs from what was shown.
        label_events: One for each patch; the ledger says what becomes of them.
    """

    edited_px: int
    id: str
    judged_px: int
    label_events: list[int]


class ShownMap(Schema):
    """The map that a correction began with."""

    layer: str
    version: int | None = None


class CorrectionRequest(Schema):
    """A corrected window of a scene.

    Attributes:
        id: Made by the client; what is submitted twice under one id is one correction.
        runs: The classes row by row, as value, length, value, length, ...; the value 255: not judged.
        seconds: Working time.
        shown: What the correction began with; null: nothing, all background.
    """

    col_off: int
    height: int
    id: str
    row_off: int
    runs: list[int]
    seconds: float
    shown: ShownMap | None
    width: int


class GridAnswer(Schema):
    """Where the pixels of a scene lie; between the nodes everything is linear, to a few hundredths of a pixel.

    Attributes:
        columns: Columns of the nodes.
        crs: Authority code or WKT.
        mercator: X and y of the nodes in Web Mercator (EPSG:3857), row by row; x goes on across the antimeridian.
        pixel_m2: Area of a pixel on the ellipsoid at the nodes, row by row.
        rows: Rows of the nodes, 0 is the upper edge of the first row.
        transform: A to f: x = a col + b row + c, y = d col + e row + f; (0, 0) is the corner of the first pixel.
    """

    columns: list[float]
    crs: str
    height: int
    mercator: list[list[float]]
    pixel_m2: list[float]
    rows: list[float]
    transform: list[float]
    width: int


class UploadedLayer(Schema):
    """A layer of the file.

    Attributes:
        features: By class; of the layer 'judged' by its name.
        notes: What was repaired, or left out.
    """

    crs: str
    features: dict[str, int]
    name: str
    notes: list[str]


class UploadAnswer(Schema):
    """What was recognised in a file, and what became of it.

    Attributes:
        classes_px: Judged pixels by class.
        edited_px: Judged pixels whose class differs from the prediction that was edited.
        id: Of the correction; the same for the same file.
        label_events: One for each patch; empty with dry_run.
        row_off: First row of the window that holds all polygons.
        sent_before: This very file was taken in before, and nothing was done now.
    """

    classes_px: dict[str, int]
    col_off: int
    edited_px: int
    height: int
    id: str
    judged_px: int
    label_events: list[int]
    layers: list[UploadedLayer]
    row_off: int
    width: int
    sent_before: bool = False


class ClassAnswer(Schema):
    """A class that is drawn.

    Attributes:
        value: Of its pixels in maps and labels.
    """

    colour: str
    name: str
    value: int


LayerKind = Annotated[Literal["classes", "percent", "entropy"], OR_NEWER]
"""How the values of a map are drawn."""


class ScaleAnswer(Schema):
    """How the values of a map are coloured.

    Attributes:
        colours: Evenly spaced from `low` to `high`; linear between them.
        high: The value in the last colour.
        low: The value in the first colour.
        quantity: What its values are.
    """

    colours: list[str]
    high: float
    low: float
    quantity: str
    unit: str


class LayerAnswer(Schema):
    """A map that was made of a scene.

    Attributes:
        checksum: SHA-256 of its file, another one once it was made anew; null: not known.
        classes: What its values mean, without background; a model may tell other classes apart than people draw.
            Empty: its values are no classes.
        scale: How its values are coloured; null: they are classes.
        tiles: Address of its tiles, with {z}, {x} and {y}.
    """

    checksum: str | None
    classes: list[ClassAnswer]
    kind: LayerKind
    name: str
    scale: ScaleAnswer | None
    tiles: str
    title: str
    version: int | None


class ViewAnswer(Schema):
    """A view of a scene.

    Attributes:
        tiles: Address of its tiles, with {z}, {x} and {y}.
    """

    hint: str | None
    name: str
    tiles: str
    title: str


class MapAnswer(Schema):
    """What can be shown of a scene.

    Attributes:
        bounds: West, south, east, north in degrees (WGS 84).
        classes: Those that people draw, without background.
        deepest_zoom: Zoom from which on a tile shows nothing more.
    """

    bounds: tuple[float, float, float, float]
    classes: list[ClassAnswer]
    deepest_zoom: int
    layers: list[LayerAnswer]
    views: list[ViewAnswer]


class WindowAnswer(Schema):
    """A window of a scene, in its own pixels, and the scene's size."""

    col_off: int
    height: int
    row_off: int
    scene_height: int
    scene_width: int
    width: int


class ScoringAnswer(Schema):
    """A scoring of the pool by Monte Carlo dropout: of all of it, or of the shortlist of a screening pass.

    Attributes:
        agreement: Stability of the ranking by each measure: the share of the top tenth of the patches that both
            halves of the passes rank there; a scoring with other masks agrees with this one at least as well.
        eta_s: Seconds until all patches are scored; null while unknown.
        patches: Number of patches in the pool, as far as its scenes are tiled.
        progress: Share of the work that is done, 0 to 1; null if there is none.
        removed_at: When its scores and maps were removed; null: they are kept.
        seconds: Seconds from the start of the last work on it to its completion.
        share: Share of the patches that get all passes, of those that a deterministic pass has screened: the most
            uncertain by either entropy; 1: all of the pool.
    """

    agreement: dict[str, float | None]
    completed_at: datetime | None
    eta_s: float | None
    id: int
    model_version: int
    passes: int
    patches: int
    progress: float | None
    removed_at: datetime | None
    seconds: float | None
    seed: int
    share: float
    started_at: datetime


class SetAsideAnswer(Schema):
    """Something that cannot be used and is left out, or was until ``ended_at``.

    Attributes:
        advice: What a person can do.
        kind: Label, scene, file or version.
        outcome: How it ended.
        reason: What was found, and what was expected.
    """

    advice: str
    checked_at: datetime
    ended_at: datetime | None
    kind: str
    name: str
    outcome: str | None
    reason: str
    since: datetime


class SettingChangeAnswer(Schema):
    """A change of a setting while the system ran.

    Attributes:
        value: Null: back to the default.
    """

    changed_at: datetime
    changed_by: str
    id: int
    name: str
    value: Any


class SettingAnswer(Schema):
    """A setting that is in force.

    Attributes:
        allowed: Type and range in words.
        changed: Its last change; null if it was never changed.
        choices: The texts that are allowed; empty if others are.
        fixed: Whether it is given in the file or the environment, and can only be changed there.
        heading: Its name as people read it.
        place: The variable, the line of the file, or the setting that gives the value.
        run_time: Whether it may change while the system runs.
        source: Where the value comes from; page: it was changed while the system ran.
    """

    allowed: str
    changed: SettingChangeAnswer | None
    choices: list[str]
    default: Any
    fixed: bool
    group: str
    heading: str
    kind: Literal["boolean", "number", "text", "list", "table"]
    meaning: str
    name: str
    place: str
    run_time: bool
    source: Literal["default", "derived", "page", "file", "environment", "architecture"]
    unit: str | None
    value: Any


class SettingsChange(Schema):
    """Settings to change: all of them or none.

    Attributes:
        settings: New values by name; null: back to the default.
    """

    settings: dict[str, bool | int | float | str | list[str] | None]


Act = Annotated[
    Literal[
        "", "add scene", "open round", "label", "retry job", "see labels", "see versions", "see scenes", "see trouble"
    ],
    OR_NEWER,
]
"""What a page offers beside the sentence."""

Tone = Annotated[Literal["fault", "look", "act", "wait"], OR_NEWER]
"""What a sentence asks of a person."""


class StepAnswer(Schema):
    """A sentence for people, and what it asks of them.

    Attributes:
        act: What to offer beside it; empty: nothing.
        subject: Id of what the act is about; empty without one.
    """

    act: Act
    subject: str
    text: str
    tone: Tone


class HealthAnswer(Schema):
    """Whether the system is healthy.

    Attributes:
        tone: The worst of the troubles: `fault` or `look`; null: healthy.
        troubles: The most pressing first.
    """

    tone: Tone | None
    troubles: list[StepAnswer]
    words: str


class RoundStatus(Schema):
    """The round that is not finished; or the newest, if it failed.

    Attributes:
        done: Patches that were labelled or skipped.
        waiting: Patches that wait for an annotator.
    """

    done: int
    id: int
    state: RoundState
    waiting: int


class VersionStatus(Schema):
    """A version, and its mean IoU on the validation region."""

    labels: int
    mean_iou: float | None
    version: int


class StatusAnswer(Schema):
    """Where the loop stands, as the dashboard shows it.

    Attributes:
        champion: The version that is served; null: none yet.
        jobs: The first 50 of the open ones, without those of a scoring: those that run, then those that wait.
        label_events: Number of label events in each state; of failed ones, those with which something is left to
            do.
        labels: Labels that stand.
        learner: The version from which training goes on; null: none yet.
        more_jobs: How many open jobs are not listed.
        new_labels: Labels that no version has learnt from.
        new_labels_needed: How many of them start a fine-tune.
        rounds: Rounds so far, without failed and abandoned ones.
        scenes: Number of ready scenes by role.
        scoring: The scoring of the pool that is under way.
    """

    champion: VersionStatus | None
    health: HealthAnswer
    jobs: list[JobAnswer]
    label_events: dict[str, int]
    labels: int
    learner: VersionStatus | None
    more_jobs: int
    new_labels: int
    new_labels_needed: int
    next_step: StepAnswer
    round: RoundStatus | None
    rounds: int
    scenes: dict[str, int]
    scoring: ScoringAnswer | None


class SubscriptionAnswer(Schema):
    """An address that is told of events.

    Attributes:
        fault: Why it is told nothing at present; null: nothing is wrong.
    """

    created_at: datetime
    created_by: str
    fault: str | None
    id: int
    url: str


class NewSubscription(Schema):
    """A subscription and its new secret, with which receivers check signatures.

    Attributes:
        fault: Why it is told nothing at present; null: nothing is wrong.
    """

    created_at: datetime
    created_by: str
    fault: str | None
    id: int
    secret: str
    url: str


class SubscriptionRequest(Schema):
    """Where events are to be sent.

    Attributes:
        url: An address whose host the setting event_hosts names.
    """

    url: str


DeliveryState = Annotated[Literal["pending", "delivered", "dead"], OR_NEWER]
"""A delivery is pending until it is delivered, or dead when its last attempt failed."""


class DeliveryAnswer(Schema):
    """One event for one subscriber.

    Attributes:
        event: Id of the event, which is the header webhook-id.
    """

    attempts: int
    delivered_at: datetime | None
    event: str
    happened_at: datetime
    id: int
    last_error: str | None
    last_status: int | None
    next_attempt_at: datetime | None
    state: DeliveryState
    subscription_id: int
    type: str
    url: str


class ReplayAnswer(Schema):
    """How many events are sent again."""

    events: int


class ReplayRequest(Schema):
    """Since when events are to be sent again.

    Attributes:
        since: With its time zone, e.g. 2026-11-26T12:00:00Z.
    """

    since: datetime


class TokenAnswer(Schema):
    """A token, without its value, of which only a checksum is stored.

    Attributes:
        last_used_at: To within ten minutes.
    """

    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    name: str
    revoked_at: datetime | None
    role: Literal["reader", "annotator", "operator", "administrator"]
    user: str | None


class NewToken(Schema):
    """A token with its value, which is shown only this once.

    Attributes:
        last_used_at: To within ten minutes.
    """

    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    name: str
    revoked_at: datetime | None
    role: Literal["reader", "annotator", "operator", "administrator"]
    token: str
    user: str | None


class TokenRequest(Schema):
    """A new token.

    Attributes:
        expires_in_days: Null: never.
        user: The user to whom it belongs: it can do no more than the user.
    """

    name: str
    role: Literal["reader", "annotator", "operator", "administrator"]
    expires_in_days: int | None = 365
    user: str | None = None


class RotateRequest(Schema):
    """A new value for a token.

    Attributes:
        overlap_hours: How long the old value stays good beside the new.
    """

    overlap_hours: float = 0


class UserAnswer(Schema):
    """A user."""

    created_at: datetime
    disabled_at: datetime | None
    name: str
    role: Literal["reader", "annotator", "operator", "administrator"]


class UserRequest(Schema):
    """A new user."""

    name: str
    password: str
    role: Literal["reader", "annotator", "operator", "administrator"]


class UserChange(Schema):
    """What to change of a user; what is left out stays."""

    disabled: bool | None = None
    password: str | None = None
    role: Literal["reader", "annotator", "operator", "administrator"] | None = None


class VersionAffected(Schema):
    """A version that learnt from withdrawn labels.

    Attributes:
        directly: Whether it learnt from the labels itself, or only through its parents.
    """

    directly: bool
    version: int


class WithdrawalAnswer(Schema):
    """A withdrawal, and the versions that it affects.

    Attributes:
        actor: Who withdrew them.
    """

    actor: str
    annotator: str
    id: int
    labels: int
    reason: str
    since: datetime | None
    versions: list[VersionAffected]
    withdrawn_at: datetime


class WithdrawalEffect(Schema):
    """What a withdrawal did or, as a dry run, would do.

    Attributes:
        champion: The served version if it learnt from them; it stays until it is replaced.
        labels: Labels withdrawn, those included that had been superseded before.
        labels_left: Labels that training learns from afterwards.
        note: What follows, in words.
        patches: Patches that may be proposed again.
        retrained_from: The version that it starts from; null for a fresh network.
        retraining: Whether a fine-tune follows.
        standing: How many of them stood until now.
        withdrawal: Its number; null for a dry run.
    """

    annotator: str
    champion: int | None
    labels: int
    labels_left: int
    note: str
    patches: int
    retrained_from: int | None
    retraining: bool
    since: datetime | None
    standing: int
    versions: list[VersionAffected]
    withdrawal: int | None


class WithdrawalRequest(Schema):
    """Which labels to withdraw, and why.

    Attributes:
        annotator: The account's address.
        dry_run: Tell what would happen, and change nothing.
        since: Labels saved earlier stand; null withdraws all.
    """

    annotator: str
    reason: str
    dry_run: bool = False
    since: datetime | None = None


class Alive(Schema):
    """The server runs."""

    alive: bool


class Readiness(Schema):
    """Whether all parts are ready.

    Attributes:
        parts: State of each part: `ok`, or what is wrong; null without a token or log-in.
    """

    parts: dict[str, str] | None
    ready: bool
