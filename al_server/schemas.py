"""Schemas of requests and responses; the OpenAPI document is made from them."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, Field, RootModel

from catalog.records import EventState, JobKind, JobState, RoundState, SceneRole, SceneState
from catalog.settings import PatchPart, Strategy
from catalog.webhook_records import DeliveryState
from services.arms import Arm
from services.doubted_labels import DoubtedLabel
from services.forecast import Worth
from services.gate_figures import GateFigures
from services.remote_scenes import Outcome
from services.scene_request import MAX_INTEGER, Closed, Integer
from services.scene_summary import SceneSummary


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


# Paths and queries


class SceneId(Closed):
    """The number of a scene."""

    scene_id: Integer


class RoundId(Closed):
    """The number of a round."""

    round_id: Integer


class JobId(Closed):
    """The id of a job."""

    job_id: str = Field(pattern=r"^[0-9a-f]{32}$")


class EventId(Closed):
    """The number of a label event."""

    event_id: Integer


class VersionNumber(Closed):
    """The number of a model version."""

    version: Integer


class CompositePath(Closed):
    """The composite image of a patch."""

    patch_id: Integer
    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$")


class Signature(Closed):
    """Signed token for a composite image."""

    signature: str = Field(max_length=500)


class Page(Closed):
    """A page of a list: up to ``limit`` items with ids greater than ``after``."""

    after: Integer = 0
    limit: int = Field(100, ge=1, le=1000)


class EventPage(Page):
    """A page of the ledger, of one state or all."""

    state: EventState | None = None


class NewestPage(Closed):
    """The newest items of a list."""

    limit: int = Field(100, ge=1, le=1000)


class JobPage(Closed):
    """The newest jobs, of one state or all."""

    state: JobState | None = None
    limit: int = Field(100, ge=1, le=1000)


class ScoringPage(Closed):
    """The newest scorings."""

    limit: int = Field(20, ge=1, le=1000)


class SetAsidePage(Closed):
    """The newest entries."""

    standing: bool = Field(False, description="only what is set aside at present")
    limit: int = Field(100, ge=1, le=1000)


class ModelPage(Closed):
    """A page of the list of versions, newest first."""

    before: int | None = Field(None, ge=1, le=MAX_INTEGER, description="only versions with smaller numbers")
    limit: int = Field(100, ge=1, le=1000)


class DecisionPage(Closed):
    """A page of the record of decisions, newest first."""

    before: int | None = Field(None, ge=1, le=MAX_INTEGER, description="only decisions with smaller ids")
    limit: int = Field(100, ge=1, le=1000)


class Moment(Closed):
    """A moment, with its time zone; now, unless it is given."""

    at: AwareDatetime | None = Field(None, description="e.g. 2026-11-26T12:00:00Z")


class DeliveryPage(Closed):
    """A page of the deliveries of events, newest first."""

    state: DeliveryState | None = None
    before: int | None = Field(None, ge=1, le=MAX_INTEGER, description="only deliveries with smaller ids")
    limit: int = Field(100, ge=1, le=1000)


class CanaryPage(Closed):
    """The newest canary comparisons."""

    standing: bool = Field(False, description="only alerts that nobody has acknowledged")
    limit: int = Field(100, ge=1, le=1000)


class ComparisonId(Closed):
    """The number of a canary comparison."""

    comparison_id: Integer


class RequestId(Closed):
    """The number of a request for a promotion or roll-back."""

    request_id: Integer


class SubscriptionId(Closed):
    """The number of a subscription."""

    subscription_id: Integer


# Requests


class RoundRequest(Closed):
    """A round to open; a missing field is taken from the settings."""

    strategy: Strategy | None = None
    size: int | None = Field(None, ge=1, le=10_000)
    seed: Integer | None = None
    part: PatchPart | None = Field(None, description="what to ask for of each patch")
    second_looks: int = Field(
        0, ge=0, le=10_000, description="how many of the patches are labelled ones that the newest scoring contradicts"
    )


class PromotionRequest(Closed):
    """The reason for a promotion or roll-back; it is stored with the caller's name."""

    reason: str = Field(min_length=3, max_length=500)


class SubscriptionRequest(Closed):
    """Where events are to be sent."""

    url: str = Field(max_length=2000, description="an address whose host the setting event_hosts names")


class AcknowledgementRequest(Closed):
    """What a person found who looked at an alert; it is stored with the caller's name."""

    note: str = Field(min_length=3, max_length=500)


class ReplayRequest(Closed):
    """Since when events are to be sent again."""

    since: AwareDatetime = Field(description="with its time zone, e.g. 2026-11-26T12:00:00Z")


# Responses


def media(media_type: str, description: str, *, text: bool = False) -> dict[str, Any]:
    """Describe a response that is a file or text, for the OpenAPI document."""
    schema = {"type": "string"} if text else {"type": "string", "format": "binary"}
    return {"description": description, "content": {media_type: {"schema": schema}}}


class Alive(BaseModel):
    """The server runs."""

    alive: bool


class Recorded(BaseModel):
    """Ids in the ledger of the label events that were new."""

    recorded: list[int]


class BackendStatus(BaseModel):
    """Whether the interactive backend is up."""

    status: str


class BackendSetup(BaseModel):
    """The model of the interactive backend."""

    model_version: str


class Suggestions(BaseModel):
    """What the interactive backend suggests: one item with Label Studio's regions, or none."""

    results: list[dict[str, Any]]


class JobAnswer(BaseModel):
    """A job: work that a worker does in the background."""

    id: str
    kind: JobKind
    subject: dict[str, Any]
    state: JobState
    progress: float | None = Field(description="0 to 1; null while unknown")
    eta_s: float | None
    message: str | None
    error: str | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class PriorAnswer(BaseModel):
    """Outlines of an earlier inventory, from which versions learn as weak labels."""

    date: str | None = Field(description="when they were drawn from images: a day, month or year")
    source: str | None
    ring_m: float = Field(description="pixels at most this far from an edge teach nothing, metres")
    classes: list[str] = Field(description="the classes that are outlined")
    sha256: str = Field(description="checksum of the geometries near the scene")


class SceneAnswer(BaseModel):
    """A registered scene."""

    id: int
    name: str
    role: SceneRole
    state: SceneState
    sensor: str | None
    acquired: str | None = Field(description="when the image was taken: a day, or a time in UTC")
    level: str | None = Field(description="what reflectances refer to; null for digital numbers")
    product: dict[str, Any] | None = Field(
        description="what was understood at registration: kind, notes, shares of pixels; null for scenes from before"
    )
    units: dict[str, str] = Field(description="unit of each band")
    bands: list[str]
    channels: list[str] = Field(description="possible inputs of a model: bands, extras, terrain, indices")
    crs: str
    width: int
    height: int
    patch_size_px: int
    patches: int
    has_outlines: bool
    prior_outlines: PriorAnswer | None
    footprint: dict[str, Any]
    error: str | None
    registered_at: datetime


class SceneRequestAnswer(BaseModel):
    """A request about a scene whose files lie on another machine, and what came of it."""

    id: int
    state: Literal["waiting", "done", "refused"]
    dry_run: bool
    replaces: int | None = Field(description="number of the scene to replace; null: a new scene")
    job_id: str = Field(description="the job that carries it out")
    requested_at: datetime
    ended_at: datetime | None
    fault: str | None = Field(description="why it was refused")
    summary: SceneSummary | None = Field(description="what was understood; null unless it is done")
    outcome: Outcome | None = Field(description="what was registered; null for a dry run, and unless it is done")


class SceneAccepted(BaseModel):
    """A registered scene and the job that tiles it, or a request and the job that carries it out."""

    scene: SceneAnswer | None = Field(
        description="null if its files lie on another machine, until the job has read them"
    )
    job: JobAnswer
    request: SceneRequestAnswer | None = Field(None, description="the request, if its files lie on another machine")


class ReplacementAccepted(SceneAccepted):
    """The new scene, its tiling, and what became of the labels; these are 0 while a request waits."""

    labels_kept: int = 0
    labels_superseded: int = 0
    learnt_from: list[int] = Field([], description="versions that learnt from labels of the replaced scene; they stay")


class RoundAnswer(BaseModel):
    """A round with its progress."""

    id: int
    strategy: Strategy
    measure: str | None = Field(description="by which the patches are ranked; null if the strategy does not rank")
    part: PatchPart = Field(description="what is asked for of each patch")
    size: int
    seed: int
    state: RoundState
    model_version: int | None = Field(description="version whose scores ranked the pool; null for a random round")
    ranking_agreement: float | None = Field(
        description="stability of that ranking, 0 to 1: `agreement` of the scoring for the measure of the ranking"
    )
    proposals: dict[str, int] = Field(description="number of proposals in each state")
    reasons: dict[str, int] = Field(description="number of proposals for each reason")
    expected_edits_px: float | None = Field(
        description="pixels that annotators are expected to change in the proposals for which that was estimated; null "
        "without any"
    )
    error: str | None
    created_at: datetime
    published_at: datetime | None
    completed_at: datetime | None


class EstimateAnswer(BaseModel):
    """An estimated quantity with its 95 % interval (Student's t, unless a bootstrap is named)."""

    value: float
    low: float | None = Field(description="null where too few values tell nothing about the spread")
    high: float | None
    count: int = Field(description="number of values that it is estimated from")


class ArmAnswer(BaseModel):
    """The labels of one arm over all rounds by scores; each label is a unit of the intervals."""

    arm: Arm
    labels: int
    simulated: int = Field(description="how many of them a simulated annotator drew, whose minutes are a program's")
    wrong_share: EstimateAnswer | None = Field(
        description="share of the judged pixels that the version which scored the pool had wrong"
    )
    wrong_px: EstimateAnswer | None = Field(description="those pixels a label")
    wrong_px_of: list[float] = Field(description="those pixels a label by drawn class, in the order of `classes`")
    edited_px: EstimateAnswer | None = Field(description="pixels a label that the annotator changed")
    minutes: EstimateAnswer | None = Field(description="minutes a label; null without lead times")
    wrong_px_per_minute: EstimateAnswer | None


class ArmDifference(BaseModel):
    """One arm minus another, paired within rounds; the rounds are the units of the intervals."""

    of: Arm
    minus: Arm
    wrong_px: EstimateAnswer | None
    wrong_px_per_minute: EstimateAnswer | None
    minutes: EstimateAnswer | None


class ForecastAnswer(BaseModel):
    """What a round of `round_size` labels is expected to bring."""

    versions: int = Field(description="number of versions that the curve is fitted to")
    labels: int = Field(description="labels of the newest version")
    more: int = Field(description="labels of the round")
    gain: EstimateAnswer = Field(
        description="of mean IoU on the validation region, by all labels of the round together"
    )
    gain_per_label: EstimateAnswer
    minutes: EstimateAnswer | None = Field(description="cost in minutes of annotators; null without lead times")
    gain_per_minute: EstimateAnswer | None


class AgreementAnswer(BaseModel):
    """How far a version and the one before it predict alike on a sample of unlabelled patches."""

    version: int
    before: int = Field(description="the newest earlier version whose maps were kept")
    patches: int = Field(description="number of patches compared")
    kappa: float | None = Field(description="Cohen's kappa over all classes; null if both predict a single class")
    kappa_of: list[float | None] = Field(
        description="the same of each class against the rest, in the order of `classes`; null if neither predicts it"
    )
    pixels_of: list[int] = Field(description="pixels that either of them predicts to be of each class")
    least: float | None = Field(description="the lowest of these kappas")


class ArmsAnswer(BaseModel):
    """What choosing found compared with controls, and what a further round is expected to bring."""

    classes: list[str]
    arms: list[ArmAnswer]
    differences: list[ArmDifference]
    next_round: ForecastAnswer | None = Field(description="null with fewer than three versions")
    agreements: list[AgreementAnswer] = Field(description="of the newest three versions that were compared")
    has_stabilised: bool = Field(description="whether all three agree with a kappa of `stable_kappa` in every class")
    worth: Worth = Field(
        description="`go on` if the gain is surely above `worthwhile_gain`; else `hardly pays` if it is surely below "
        "or predictions have stabilised; else `cannot tell`. Nothing acts on it"
    )


class ScoringAnswer(BaseModel):
    """A scoring of the pool by Monte Carlo dropout: of all of it, or of the shortlist of a screening pass."""

    id: int
    model_version: int
    passes: int
    seed: int
    share: float = Field(
        description="share of the patches that get all passes, of those that a deterministic pass has screened: the "
        "most uncertain by either entropy; 1: all of the pool"
    )
    patches: int = Field(description="number of patches in the pool, as far as its scenes are tiled")
    progress: float | None = Field(description="share of the work that is done, 0 to 1; null if there is none")
    eta_s: float | None = Field(description="seconds until all patches are scored; null while unknown")
    seconds: float | None = Field(description="seconds from the start of the last work on it to its completion")
    agreement: dict[str, float | None] = Field(
        description="stability of the ranking by each measure: the share of the top tenth of the patches that both "
        "halves of the passes rank there; a scoring with other masks agrees with this one at least as well"
    )
    started_at: datetime
    completed_at: datetime | None
    removed_at: datetime | None = Field(description="when its scores and maps were removed; null: they are kept")


class RoundAccepted(BaseModel):
    """An opened round and the job that chooses its patches."""

    round: RoundAnswer
    job: JobAnswer


class EventAnswer(BaseModel):
    """An entry of the ledger of label events."""

    id: int
    action: str
    origin: str
    project_id: int | None
    task_id: int | None
    annotation_id: int | None
    annotation_updated_at: datetime | None
    state: EventState
    detail: str | None
    received_at: datetime
    applied_at: datetime | None


class ReconciliationAnswer(BaseModel):
    """A comparison with Label Studio that was full or found a difference."""

    id: int
    project_id: int
    full_because: str | None = Field(description="why all tasks were compared; null: those that had changed")
    tasks: int = Field(description="that Label Studio had")
    read: int = Field(description="of them, how many were read because they had changed")
    mended: dict[str, int] = Field(description="what no webhook had told, by action of the events recorded for it")
    event_ids: list[int] = Field(description="the label events by which it was mended")
    started_at: datetime
    seconds: float


class ModelAnswer(BaseModel):
    """A model version with its IoU and its gain over the champion; undefined figures are null."""

    version: int
    aliases: list[str]
    created_at: datetime
    parent_version: int | None = Field(description="the version that its training started from")
    champion_version: int | None = Field(description="the version that was served then, with which it is compared")
    labels: int
    labels_sha256: str
    simulated_labels: int
    iou: dict[str, dict[str, float | None]] = Field(description="by role of the region, then by class or 'mean'")
    gain: dict[str, dict[str, float | None]] = Field(description="difference to the champion's IoU, in the same form")
    calibration_error: dict[str, dict[str, float | None]] = Field(
        description="expected calibration error on held-out validation windows, 'before' and 'after' the calibration, "
        "then by class; empty if the version was not calibrated"
    )
    verdict: str
    verdict_reason: str
    gate: GateFigures | None = Field(description="intervals that the verdict rests on; null for the first version")
    sha256: dict[str, str] = Field(description="checksum by file name")
    doubted_labels: list[DoubtedLabel] = Field(
        description="labels that it learnt and that stand out, the most doubted first; its lineage names the annotators"
    )
    withdrawals: list[int] = Field(
        description="withdrawals of labels that it learnt from, itself or through its parent; empty: none"
    )
    faults: list[str] = Field(description="tags in MLflow that could not be read; their figures are null")


class ExpectationAnswer(BaseModel):
    """Expected edits against what people changed."""

    labels: int = Field(description="labels whose edits were estimated beforehand")
    expected_px: float
    edited_px: int
    bias_px: float = Field(description="mean of expected minus changed pixels of a label")
    rank_correlation: float | None = Field(description="Spearman's, over the labels; null with fewer than three")


class EffortAnswer(BaseModel):
    """What the standing labels of one kind cost."""

    asked: str = Field(description="'whole patches' or 'parts' of them")
    start: str = Field(description="what their annotators started from: 'proposal' or 'empty mask'")
    simulated: bool = Field(description="drawn by the simulated annotator, whose seconds mean nothing")
    labels: int
    asked_px: int
    edited_px: int
    edited_share: float = Field(description="pixels changed for each pixel asked for")
    seconds: float = Field(description="sum of Label Studio's lead times")
    seconds_per_1000_px: float | None = Field(description="for 1000 pixels asked for; null without lead times")
    check: ExpectationAnswer | None = Field(description="how good the expected edits were; null without any")


class ComparisonAnswer(BaseModel):
    """How far masks agree with others of the same patches; the patches are the units of the intervals (bootstrap)."""

    patches: int
    pixels: int = Field(description="pixels of which both name a class")
    agreement: EstimateAnswer | None = Field(description="share of these of which both name the same class")
    iou: list[EstimateAnswer | None] = Field(description="in the order of `classes`; null for one that neither names")
    left_out: EstimateAnswer | None = Field(
        description="share of the pixels of which the other side names a class, and the annotator none"
    )


class AnnotatorAnswer(BaseModel):
    """What is known of the labels of one annotator."""

    annotator: str
    simulated: bool
    truth: ComparisonAnswer | None = Field(description="with known truth: honeypots and reference patches")
    others: ComparisonAnswer | None = Field(description="with labels of the same patches by other people")


class BiasAnswer(BaseModel):
    """Labels drawn from the pre-annotation against labels of the same patches drawn from an empty mask."""

    labels: ComparisonAnswer = Field(description="the two labels with each other")
    preannotated: ComparisonAnswer = Field(description="the former with the pre-annotation")
    blind: ComparisonAnswer = Field(description="the latter with the pre-annotation that was not shown")
    pull: EstimateAnswer | None = Field(
        description="agreement of the former with the pre-annotation minus that of the latter"
    )
    pull_iou: list[EstimateAnswer | None] = Field(description="the same difference of the IoU of each class")


class ReferenceAnswer(BaseModel):
    """A patch whose label an operator accepted as the truth."""

    patch_id: int
    label_id: int
    annotator: str
    answers: int = Field(description="labels by other people that are compared with it")
    stands: bool = Field(
        description="false if the label was changed, deleted or withdrawn: nothing is compared with it"
    )


class QualityAnswer(BaseModel):
    """The quality of the standing labels."""

    classes: list[str]
    annotators: list[AnnotatorAnswer]
    bias: BiasAnswer | None = Field(description="null without a patch that was labelled both ways by two people")
    same_person: int = Field(description="second labels that do not count, because the same person drew the first")
    references: list[ReferenceAnswer]
    pending: int = Field(description="comparisons not made yet, by a job; what they are of is left out of the figures")


class TrackAnswer(BaseModel):
    """What was trained, and what was served after the gate's decision on it."""

    version: int
    labels: int
    mean_iou: dict[str, float | None] = Field(description="of the version, by role of the region")
    low: float | None = Field(
        description="lower end of the gate's interval for the mean IoU on validation: the interval of the gain, added "
        "to the figure of the version that was served when its training began; null for the first version"
    )
    high: float | None = Field(description="the upper end")
    served_version: int | None
    served_mean_iou: dict[str, float | None] = Field(
        description="of the version that was served then, on the same scenes; without a role where it is not known"
    )


class SetAsideAnswer(BaseModel):
    """Something that cannot be used and is left out, or was until ``ended_at``."""

    kind: str = Field(description="label, scene, file or version")
    name: str
    reason: str = Field(description="what was found, and what was expected")
    since: datetime
    checked_at: datetime
    ended_at: datetime | None
    outcome: str | None = Field(description="how it ended")


class PromotionAnswer(BaseModel):
    """A decision about a version: promoted, kept, rolled back, set back (the learner); or a move made in MLflow."""

    id: int
    version: int | None = Field(description="null: the alias was removed in MLflow")
    previous_version: int | None
    verdict: str
    reason: str
    actor: str
    decided_at: datetime
    completed_at: datetime = Field(description="when it took effect")
    evidence: GateFigures | None = Field(description="what the gate's decision rests on; null for others")


class DecisionRequestAnswer(BaseModel):
    """A promotion or roll-back that somebody asked for, and what became of it."""

    id: int
    state: Literal["waiting", "done", "refused"]
    version: int | None = Field(description="the version to be served; null: the one before the champion")
    reason: str
    actor: str
    requested_at: datetime
    ended_at: datetime | None
    fault: str | None = Field(description="why it was refused, or still waits")
    decision: PromotionAnswer | None = Field(description="the decision that came of it; null if there is none (yet)")


class ChampionAt(BaseModel):
    """The version that was served at a moment, and the decision by which."""

    at: datetime
    version: int | None = Field(description="null: none was served")
    decision: PromotionAnswer | None


class AreaChangeAnswer(BaseModel):
    """The area of a class in both maps, as shares of the pixels compared."""

    name: str
    before: float
    now: float
    change: float = Field(description="as a share of the larger area: -1 (vanished) to 1 (new)")


class CanaryAnswer(BaseModel):
    """How far what was served after a decision maps the pool otherwise than what was served before."""

    id: int
    version: int | None
    previous_version: int | None
    verdict: str
    patches: int
    pixels: int
    changed_share: float = Field(description="share of the pixels whose class changed, 0 to 1")
    areas: list[AreaChangeAnswer]
    change_limit: float
    area_limit: float
    alerts: list[str] = Field(description="the limits that are exceeded, and by what; empty: none")
    to_go_back: str = Field(description="the command that serves the version before again")
    compared_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None


class SubscriptionAnswer(BaseModel):
    """An address that is told of events."""

    id: int
    url: str
    created_by: str
    created_at: datetime
    fault: str | None = Field(description="why it is told nothing at present; null: nothing is wrong")


class NewSubscription(SubscriptionAnswer):
    """A subscription and its new secret, with which receivers check signatures."""

    secret: str


class ReplayAnswer(BaseModel):
    """How many events are sent again."""

    events: int


class DeliveryAnswer(BaseModel):
    """One event for one subscriber."""

    id: int
    subscription_id: int
    url: str
    event: str = Field(description="id of the event, which is the header webhook-id")
    type: str
    happened_at: datetime
    state: DeliveryState
    attempts: int
    last_status: int | None
    last_error: str | None
    next_attempt_at: datetime | None
    delivered_at: datetime | None


class Readiness(BaseModel):
    """Whether all parts are ready."""

    ready: bool
    parts: dict[str, str] | None = Field(
        description="state of each part: `ok`, or what is wrong; null without a token or log-in"
    )


Item = TypeVar("Item", bound=BaseModel)


class ListOf(RootModel[list[Item]], Generic[Item]):
    """Several items."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name the schema in the OpenAPI document, e.g. ``SceneList`` for ``ListOf[SceneAnswer]``."""
        name: str = params[0].__name__
        return f"{name.removesuffix('Answer')}List"
