"""The tables of the database, which is the source of truth, and the states of their rows.

Scenes are cut into patches; a scoring gives patches scores; a round proposes patches; label events from Label Studio
become labels; training runs learn from labels; jobs are the outbox of background work. Model versions are not stored
here: MLflow's registry holds them, and rows refer to them by number.
"""

import zlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Final, Self
from uuid import uuid4

import zstandard
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, deferred, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from catalog.told_texts import Told


def now() -> datetime:
    """Return the current time in UTC, with its time zone."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite does not store time zones: reading adds UTC, writing refuses times without a zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; raise ValueError for a time without a zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"found the moment {value} without a time zone, expected an aware one")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored time with the zone UTC."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class SceneRole(StrEnum):
    """What a scene is used for. Fixed at registration: a pool scene must never judge a model, nor the reverse."""

    POOL = "pool"
    VALIDATION = "validation"
    TEST = "test"


class SceneState(StrEnum):
    """Registered scenes become ready once tiled, or are rejected with a reason; any may be removed."""

    REGISTERED = "registered"
    READY = "ready"
    REJECTED = "rejected"
    REMOVED = "removed"


NOT_USED = (SceneState.REJECTED, SceneState.REMOVED)
"""States of scenes that are ignored when new scenes are checked for overlap, channels and patch size."""


class PatchState(StrEnum):
    """State of a patch of the pool. Unlabelled and partly labelled patches may be proposed."""

    UNLABELLED = "unlabelled"
    PARTLY_LABELLED = "partly labelled"
    PROPOSED = "proposed"
    LABELLED = "labelled"
    SKIPPED = "skipped"


class RoundState(StrEnum):
    """A round is chosen, published, open to annotators, and complete once no proposal waits for an annotator."""

    CHOOSING = "choosing"
    PUBLISHING = "publishing"
    OPEN = "open"
    COMPLETE = "complete"
    FAILED = "failed"
    ABANDONED = "abandoned"


class ProposalReason(StrEnum):
    """Why a patch was proposed."""

    RANDOM_START = "random start"
    UNCERTAIN = "uncertain"
    FOREGROUND = "random foreground"  # drawn at random where a version predicts foreground, by a strategy that does so
    SHORTLIST_CONTROL = "shortlist control"  # drawn like that as a control of what another strategy chose
    CONTROL = "random control"  # drawn from the whole pool
    SECOND_LABEL = "second label"  # labelled already, to be drawn by another person from an empty mask
    KNOWN_TRUTH = "known truth"  # a honeypot: what is drawn on it is measured and never learnt from
    SECOND_LOOK = "second look"  # labelled already, and contradicted by the newest scoring
    CORRECTION = "corrected on the map"  # by a person of their own accord, in no round


class ProposalState(StrEnum):
    """State of a proposal. Annotations are still accepted for an abandoned proposal, but not for a withdrawn one."""

    CHOSEN = "chosen"
    PUBLISHED = "published"
    LABELLED = "labelled"
    SKIPPED = "skipped"
    WITHDRAWN = "withdrawn"
    ABANDONED = "abandoned"


class EventState(StrEnum):
    """State of a label event. A failed event stores the reason and can be replayed."""

    RECEIVED = "received"
    APPLIED = "applied"
    SUPERSEDED = "superseded"
    FAILED = "failed"


class RunState(StrEnum):
    """State of a training run. An interrupted run resumes from its checkpoint; the last three states are final."""

    OPEN = "open"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"


class RunTrigger(StrEnum):
    """Why a fine-tune was started."""

    PRIORS = "prior outlines"
    LABELS = "enough new labels"
    TIME_LIMIT = "time limit"
    ROUND = "round complete"
    WITHDRAWAL = "labels withdrawn"
    MANUAL = "by hand"


class JobKind(StrEnum):
    """Kinds of jobs. ``workers.job_functions`` maps each kind to its function."""

    TILE_SCENE = "tile_scene"
    PROPOSE_ROUND = "propose_round"
    PUBLISH_ROUND = "publish_round"
    INGEST_LABEL = "ingest_label"
    FINE_TUNE = "fine_tune"
    SCORE_POOL = "score_pool"
    SCORE_SHARD = "score_shard"
    PREDICT_SCENE = "predict_scene"
    PREDICT_AREA = "predict_area"
    SYNC_LABEL_STUDIO = "sync_label_studio"
    REMOVE_TASKS = "remove_tasks"
    REMOVE_SUPERSEDED = "remove_superseded"
    MEND_FILES = "mend_files"
    DELIVER_EVENT = "deliver_event"
    COMPARE_SERVED = "compare_served"
    COMPARE_MASKS = "compare_masks"
    DESCRIBE_SCENE = "describe_scene"
    EXPORT_GLIMS = "export_glims"
    COMPARE_SCENES = "compare_scenes"
    BACK_UP = "back_up"
    EXPORT_DATASET = "export_dataset"
    CHECK_INSTALLATION = "check_installation"
    REPRODUCE_VERSION = "reproduce_version"
    EXPORT_SUBMISSION = "export_submission"
    RUN_EXPERIMENT = "run_experiment"
    READ_SCENE = "read_scene"


class JobState(StrEnum):
    """A job is open while queued or running."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ShardKind(StrEnum):
    """How the patches of a shard are scored: by one deterministic pass, or by all passes of Monte Carlo dropout."""

    SCREENING = "screening"
    MONTE_CARLO = "monte_carlo"


STATES: tuple[type[StrEnum], ...] = (
    SceneRole,
    SceneState,
    PatchState,
    RoundState,
    ProposalReason,
    ProposalState,
    EventState,
    RunState,
    RunTrigger,
    JobKind,
    JobState,
    ShardKind,
)


def _stored_by_value(states: type[StrEnum]) -> Enum:
    return Enum(
        states, native_enum=False, length=32, values_callable=lambda members: [member.value for member in members]
    )


_COMPRESSION: Final = 1
"""Level of zstd: on bodies with drawings of 512 px, level 3 saves next to nothing more, and takes longer."""


class BytesToStore(bytes):
    """Bytes that were compressed when they were made, as `CompressedBytes` stores them.

    A transaction that writes them need not do it, while all other writers wait for it.
    """

    compressed: bytes

    def __new__(cls, value: bytes) -> Self:
        """Return the bytes, with their compressed form."""
        made = super().__new__(cls, value)
        made.compressed = zstandard.compress(value, _COMPRESSION)
        return made


class CompressedBytes(TypeDecorator[bytes]):
    """Bytes stored compressed (zstd): the body of a label event holds the whole drawing as text.

    Those stored by earlier releases (zlib) can be read, too: zstd's frames begin with a number that no stream of zlib
    begins with.
    """

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Return the bytes compressed."""
        if isinstance(value, BytesToStore):
            return value.compressed
        return None if value is None else zstandard.compress(value, _COMPRESSION)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Return the stored bytes decompressed."""
        if value is None:
            return None
        is_zstd = value.startswith(zstandard.FRAME_HEADER)
        return zstandard.decompress(value) if is_zstd else zlib.decompress(value)


class Base(DeclarativeBase):
    """Base class of all tables; maps Python types to column types."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        **{states: _stored_by_value(states) for states in STATES},
    }


class Installation(Base):
    """Choices made once per installation. The table has one row, with the id 1."""

    __tablename__ = "installation"

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    class_scheme: Mapped[dict[str, Any] | None]  # None until the first scene is registered
    label_studio_project_id: Mapped[int | None] = mapped_column(BigInteger)  # None until the project is created
    created_at: Mapped[datetime] = mapped_column(default=now)


class Scene(Base):
    """A satellite scene: where its bands are, its grid on the ground, and its role."""

    __tablename__ = "scenes"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    role: Mapped[SceneRole]
    state: Mapped[SceneState] = mapped_column(default=SceneState.REGISTERED)
    sensor: Mapped[str | None] = mapped_column(String(50))
    acquired: Mapped[str | None] = mapped_column(String(32))  # ISO 8601: a date, or a time in UTC; None if unknown
    source: Mapped[dict[str, Any]]  # imagery.scene_source.SceneSource as JSON
    footprint: Mapped[dict[str, Any]]  # GeoJSON geometry, WGS 84
    outlines: Mapped[list[Any]]  # imagery.masks.OutlineLayer as JSON
    prior_outlines: Mapped[dict[str, Any] | None]  # services.prior_outlines.PriorOutlines as JSON; None: it has none
    product: Mapped[dict[str, Any] | None]  # by services.scene_description; None before revision 0007
    patch_size_px: Mapped[int]
    patch_overlap_px: Mapped[int]
    patch_count: Mapped[int] = mapped_column(default=0)  # set when tiled, because counting millions of rows is slow
    stretch: Mapped[dict[str, Any] | None]  # channel -> [low, high] in the channel's unit, for the composites
    error: Mapped[Told | None]
    registered_at: Mapped[datetime] = mapped_column(default=now)
    # How often it got another description under its number: its files may hold other pixels under the same names.
    revision: Mapped[int] = mapped_column(default=0)


class Patch(Base):
    """A square window of a scene, in pixels; its coordinates follow from the scene's grid and are not stored."""

    __tablename__ = "patches"
    __table_args__ = (
        UniqueConstraint("scene_id", "row_off", "col_off"),
        Index("ix_patches_of_scene", "scene_id", "id"),
        Index("ix_patches_state", "state", "valid_share"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    scene_id: Mapped[int] = mapped_column(ForeignKey("scenes.id"))
    row_off: Mapped[int]
    col_off: Mapped[int]
    size_px: Mapped[int]
    valid_share: Mapped[float]
    state: Mapped[PatchState] = mapped_column(default=PatchState.UNLABELLED)

    scene: Mapped[Scene] = relationship()


class Scoring(Base):
    """One scoring of the pool by a model version, with T passes of Monte Carlo dropout.

    When a superseded scoring loses its scores and maps, its row stays, because rounds refer to it. If its version is
    served again, the pool is scored again under a new row.
    """

    __tablename__ = "scorings"
    __table_args__ = (
        Index(
            "ix_scorings_one_kept",
            "model_version",
            "passes",
            "seed",
            unique=True,
            sqlite_where=text("removed_at IS NULL"),
            postgresql_where=text("removed_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_version: Mapped[int]
    passes: Mapped[int]
    seed: Mapped[int]
    shortlist_share: Mapped[float] = mapped_column(default=1.0)  # share of screened patches that get all T passes
    started_at: Mapped[datetime] = mapped_column(default=now)
    completed_at: Mapped[datetime | None]
    seconds: Mapped[float | None]  # from the start of its last planning job to its completion
    agreement: Mapped[dict[str, Any] | None]  # measure -> share of the top tenth that two halves of the passes agree on
    stability: Mapped[dict[str, Any] | None]  # agreement with the version before: services.stability.Agreement
    removed_at: Mapped[datetime | None]  # when the removal of its scores, shards and maps began


class Shard(Base):
    """A block of patch rows of one scene, scored by one job: the unit that is repeated when a worker dies."""

    __tablename__ = "shards"
    __table_args__ = (UniqueConstraint("scoring_id", "scene_id", "stage", "first_row"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    scoring_id: Mapped[int] = mapped_column(ForeignKey("scorings.id"))
    scene_id: Mapped[int] = mapped_column(ForeignKey("scenes.id"))
    stage: Mapped[int] = mapped_column(default=0)  # 0: all patches of its rows; 1, 2, ...: the shortlists before it
    kind: Mapped[ShardKind]
    shortlist_planned: Mapped[bool] = mapped_column(default=True)  # False for screening until its shortlist is planned
    shortlist_from: Mapped[dict[str, Any] | None]  # stages 1, 2, ...: measure -> lowest score on the shortlist
    first_row: Mapped[int]  # row_off of the first patches, in pixels of the scene
    last_row: Mapped[int]  # row_off of the last patches
    patch_count: Mapped[int]
    seconds: Mapped[float | None]  # duration of the attempt that finished it
    done_at: Mapped[datetime | None]

    scoring: Mapped[Scoring] = relationship()
    scene: Mapped[Scene] = relationship()


class Score(Base):
    """The value of one measure for one patch in one scoring."""

    __tablename__ = "scores"
    __table_args__ = (
        Index("ix_scores_ranking", "scoring_id", "measure", "screening", "value", "patch_id"),
        Index("ix_scores_patch", "patch_id"),  # without it, deleting a patch reads all scores for its foreign key
    )

    scoring_id: Mapped[int] = mapped_column(ForeignKey("scorings.id"), primary_key=True)
    patch_id: Mapped[int] = mapped_column(ForeignKey("patches.id"), primary_key=True)
    measure: Mapped[str] = mapped_column(String(32), primary_key=True)
    screening: Mapped[bool] = mapped_column(
        default=False
    )  # from one deterministic pass: ranked after all Monte Carlo scores
    value: Mapped[float]


class Round(Base):
    """A batch of proposals published together. At most one round is in the state "choosing" (unique index)."""

    __tablename__ = "rounds"
    __table_args__ = (
        Index(
            "ix_rounds_one_choosing",
            "state",
            unique=True,
            sqlite_where=text("state = 'choosing'"),
            postgresql_where=text("state = 'choosing'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    strategy: Mapped[str] = mapped_column(String(32))  # a name of `services.strategies`
    measure: Mapped[str | None] = mapped_column(String(32))  # what the strategy ranks by; None: it does not rank
    part: Mapped[str] = mapped_column(String(32), default="whole")  # what of each patch, `catalog.settings.PatchPart`
    size: Mapped[int]
    seed: Mapped[int]
    state: Mapped[RoundState] = mapped_column(default=RoundState.CHOOSING)
    scoring_id: Mapped[int | None] = mapped_column(ForeignKey("scorings.id"))
    error: Mapped[Told | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    published_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    learnt_from_run: Mapped[int | None]  # first training run that began after it had ended; it and later ones learn it

    scoring: Mapped[Scoring | None] = relationship()
    proposals: Mapped[list["Proposal"]] = relationship(back_populates="round", order_by="Proposal.rank")


class Proposal(Base):
    """A patch, or a part of it, that a round asks the annotators to label, or that a person corrected on the map.

    The Label Studio task stores ``uid``, because Label Studio reuses the ids of deleted tasks.
    """

    __tablename__ = "proposals"
    __table_args__ = (
        UniqueConstraint("round_id", "patch_id"),
        Index("ix_proposals_task", "project_id", "task_id"),
        Index("ix_proposals_state", "state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(32), unique=True, default=lambda: uuid4().hex)
    round_id: Mapped[int | None] = mapped_column(ForeignKey("rounds.id"))  # None: a correction on the map
    patch_id: Mapped[int] = mapped_column(ForeignKey("patches.id"), index=True)
    region: Mapped[list[Any] | None]  # run lengths of the pixels asked for (`catalog.pixel_regions`)
    rank: Mapped[int]
    reason: Mapped[ProposalReason]
    score: Mapped[float | None]  # by the round's measure, in its unit
    state: Mapped[ProposalState] = mapped_column(default=ProposalState.CHOSEN)
    project_id: Mapped[int | None] = mapped_column(BigInteger)
    task_id: Mapped[int | None] = mapped_column(BigInteger)
    shown_version: Mapped[str | None] = mapped_column(String(40))  # the version that scored what its annotator sees
    expected_edits: Mapped[dict[str, Any] | None]  # services.expected_edits.ExpectedEdits as JSON; None: not estimated
    preannotated_by: Mapped[int | None]  # version that drew the pre-annotation; None if the task started empty
    views: Mapped[dict[str, Any] | None]  # field of the task's data -> name of the picture
    images_signed_at: Mapped[datetime | None]
    images_base_url: Mapped[str | None]

    round: Mapped[Round | None] = relationship(back_populates="proposals")
    patch: Mapped[Patch] = relationship()


class LabelEvent(Base):
    """The ledger: every event received from Label Studio or our map, or found by reconciliation, with its body."""

    __tablename__ = "label_events"
    __table_args__ = (
        Index("ix_label_events_annotation", "project_id", "annotation_id"),
        Index("ix_label_events_task", "project_id", "task_id"),
        Index("ix_label_events_proposal", "proposal_id"),
        Index("ix_label_events_uid", "annotation_uid"),
        Index("ix_label_events_state", "state", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dedupe_key: Mapped[str] = mapped_column(String(200), unique=True)
    action: Mapped[str] = mapped_column(String(40))
    origin: Mapped[str] = mapped_column(String(20))  # `catalog.event_order`: "webhook", "reconciliation" or "map"
    project_id: Mapped[int | None] = mapped_column(BigInteger)
    task_id: Mapped[int | None] = mapped_column(BigInteger)
    annotation_id: Mapped[int | None] = mapped_column(BigInteger)
    # Label Studio reuses ids. These three columns identify the task and the annotation that the ids referred to when
    # the event was received (`catalog.event_order`).
    proposal_id: Mapped[int | None]
    annotation_created_at: Mapped[datetime | None]
    annotation_uid: Mapped[str | None] = mapped_column(String(64))  # unique_id; None: not told, as by the API
    # Which state of the annotation it holds. The order of states is that of the ids of these rows.
    annotation_updated_at: Mapped[datetime | None]
    content_sha256: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[EventState] = mapped_column(default=EventState.RECEIVED)
    detail: Mapped[Told | None]
    received_at: Mapped[datetime] = mapped_column(default=now)
    applied_at: Mapped[datetime | None]
    # As received; of several deletions in one body, each row holds its own. Large, so loaded only on access.
    body: Mapped[bytes] = deferred(mapped_column(CompressedBytes))


class Label(Base):
    """An annotator's mask of a patch. Immutable: an updated annotation adds a row and supersedes the old one."""

    __tablename__ = "labels"
    __table_args__ = (
        UniqueConstraint("event_id"),
        Index("ix_labels_current", "superseded_at", "patch_id"),
        Index("ix_labels_patch", "patch_id"),
        Index("ix_labels_proposal", "proposal_id"),
        Index("ix_labels_annotation", "project_id", "annotation_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    patch_id: Mapped[int] = mapped_column(ForeignKey("patches.id"))
    proposal_id: Mapped[int] = mapped_column(ForeignKey("proposals.id"))
    event_id: Mapped[int] = mapped_column(ForeignKey("label_events.id"))
    project_id: Mapped[int | None] = mapped_column(BigInteger)  # both None: a correction on the map
    annotation_id: Mapped[int | None] = mapped_column(BigInteger)
    annotated_at: Mapped[datetime]
    mask_key: Mapped[str]
    mask_sha256: Mapped[str] = mapped_column(String(64))
    annotator: Mapped[str]
    simulated: Mapped[bool]
    lead_time_s: Mapped[float | None]
    edited_px: Mapped[int]  # pixels that differ from what the annotator was shown
    found: Mapped[list[Any] | None]  # K x K pixels by drawn class and class in the map of the round's scoring
    created_at: Mapped[datetime] = mapped_column(default=now)
    superseded_at: Mapped[datetime | None]

    patch: Mapped[Patch] = relationship()
    proposal: Mapped[Proposal] = relationship()


class TrainingRun(Base):
    """One fine-tune and the labels that it learns from, fixed at its start. At most one is open (unique index)."""

    __tablename__ = "training_runs"
    __table_args__ = (
        Index(
            "ix_training_runs_one_open",
            "state",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(32), unique=True, default=lambda: uuid4().hex)  # a tag of its MLflow run
    state: Mapped[RunState] = mapped_column(default=RunState.OPEN)
    trigger: Mapped[RunTrigger]
    label_ids: Mapped[list[Any]]
    labels_sha256: Mapped[str] = mapped_column(String(64))
    seed: Mapped[int]
    mlflow_run_id: Mapped[str | None]
    parent_version: Mapped[int | None]  # whose weights the training starts from: the learner at its start
    champion_version: Mapped[int | None]  # what was served at its start, which the gate compares the version with
    model_version: Mapped[int | None]
    checkpoint_step: Mapped[int | None]  # step of the last checkpoint, from which an interrupted run resumes
    seconds: Mapped[dict[str, Any] | None]  # stage -> seconds
    error: Mapped[Told | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]


class Job(Base):
    """A background job. The table is the outbox: jobs that Redis has lost are queued again from here."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "ix_jobs_one_open",
            "key",
            unique=True,
            sqlite_where=text("state IN ('queued', 'running')"),
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
        Index("ix_jobs_state", "state", "run_after"),
        Index("ix_jobs_key", "key", "created_at"),
        Index("ix_jobs_created_at", "created_at"),
        Index("ix_jobs_finished_at", "finished_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=lambda: uuid4().hex)
    kind: Mapped[JobKind]
    key: Mapped[str] = mapped_column(String(100))  # one open job per key
    subject: Mapped[dict[str, Any]]
    state: Mapped[JobState] = mapped_column(default=JobState.QUEUED)
    attempt: Mapped[int] = mapped_column(default=0)  # number of starts: the fencing token of a job that runs twice
    failures: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    message: Mapped[Told | None]
    error: Mapped[Told | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    run_after: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    # What a job found that was asked to look at something; the function of its kind says what stands in it.
    report: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
