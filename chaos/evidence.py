"""What the database, Label Studio, MLflow and the files hold when a system has come to rest."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from mlflow import MlflowClient
from numpy.typing import NDArray
from sqlalchemy import select

from catalog.context import Catalog
from catalog.decision_records import Promotion, PromotionIntent
from catalog.records import (
    Job,
    Label,
    LabelEvent,
    Patch,
    Proposal,
    Round,
    TrainingRun,
)
from catalog.registry import registry_of
from chaos.ground import PATCH_PX
from imagery.classes import GLACIER_SCHEME
from imagery.errors import StoreError
from imagery.masks import mask_from_geotiff
from imagery.store import checksum_file
from labeling.regions import iterate_regions
from labeling.tasks import PROPOSAL
from services.label_studio import label_studio
from services.places import raster_store
from services.stored_files import expected_files, orphans
from workers.label_drawing import draw
from workers.run_tracking import UID_TAG, tracking_of

# How `imagery.store.checksum_file` names a checksum.
_CHECKSUM: Final = re.compile(r"(.*)/\.([^/]+)\.sha256")


@dataclass(frozen=True)
class Annotation:
    """An annotation that Label Studio has.

    Attributes:
        id: Label Studio's id of it.
        task_id: Its task.
        proposal: Uid of the proposal that the task names.
        skipped: Whether it is a skip.
        lead_time: The number that a simulated annotator gave its last version.
        mask: (h, w) what is drawn.
    """

    id: int
    task_id: int
    proposal: str
    skipped: bool
    lead_time: float | None
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class MlflowRun:
    """A run in MLflow: its id, its status, and the uid of our row that it names."""

    id: str
    status: str
    uid: str | None


@dataclass(frozen=True)
class Evidence:
    """Everything that the invariants look at.

    Attributes:
        annotations: All annotations of our project in Label Studio.
        tasks: Its tasks: id to the uid of the proposal.
        acknowledged: Annotation id to the number that its last acknowledged version carries.
        labels: Standing labels.
        masks: Mask of each standing label by its id; None where the file is missing or cannot be read.
        proposals, patches, rounds, events, jobs, runs, promotions, intents: All rows.
        versions: Version number in MLflow to its run.
        aliases: Alias in MLflow to its version.
        mlflow_runs: All runs of our experiment.
        files: Keys of all files in the raster store.
        orphans: Keys of those, and of files of which only the checksum is left, that belong to no row.
        missing: Keys of files that a row refers to, and that are not in the store.
    """

    annotations: Sequence[Annotation]
    tasks: Mapping[int, str]
    acknowledged: Mapping[int, float]
    labels: Sequence[Label]
    masks: Mapping[int, NDArray[np.uint8] | None]
    proposals: Sequence[Proposal]
    patches: Sequence[Patch]
    rounds: Sequence[Round]
    events: Sequence[LabelEvent]
    jobs: Sequence[Job]
    runs: Sequence[TrainingRun]
    promotions: Sequence[Promotion]
    intents: Sequence[PromotionIntent]
    versions: Mapping[int, str]
    aliases: Mapping[str, int]
    mlflow_runs: Sequence[MlflowRun]
    files: frozenset[str]
    orphans: Sequence[str]
    missing: Sequence[str]


def gather(catalog: Catalog, project_id: int, acknowledged: Mapping[int, float]) -> Evidence:
    """Look at everything. The system must be at rest."""
    tasks = list(label_studio(catalog).changed_tasks(project_id, None))
    with catalog.read() as session:
        proposals = list(session.scalars(select(Proposal)))
        patches = list(session.scalars(select(Patch)))
        rounds = list(session.scalars(select(Round)))
        events = list(session.scalars(select(LabelEvent)))
        jobs = list(session.scalars(select(Job)))
        runs = list(session.scalars(select(TrainingRun)))
        promotions = list(session.scalars(select(Promotion)))
        intents = list(session.scalars(select(PromotionIntent)))
        labels = list(session.scalars(select(Label).where(Label.superseded_at.is_(None))))
    registry = registry_of(catalog.settings)
    files = all_files(Path(catalog.settings.raster_store))
    without_row, missing = compare_files(catalog, files)
    return Evidence(
        annotations=[
            _annotation(item, task["id"], str(task["data"].get(PROPOSAL)))
            for task in tasks
            for item in task["annotations"]
        ],
        tasks={task["id"]: str(task["data"].get(PROPOSAL)) for task in tasks},
        acknowledged=acknowledged,
        labels=labels,
        masks={label.id: _mask(catalog, label) for label in labels},
        proposals=proposals,
        patches=patches,
        rounds=rounds,
        events=events,
        jobs=jobs,
        runs=runs,
        promotions=promotions,
        intents=intents,
        versions={version.version: version.run_id for version in registry.versions(100_000)},
        aliases=registry.aliases(),
        mlflow_runs=_mlflow_runs(catalog),
        files=files,
        orphans=without_row,
        missing=missing,
    )


def compare_files(catalog: Catalog, files: Collection[str]) -> tuple[list[str], list[str]]:
    """Compare the files of the raster store with the rows, as ``glacier-al doctor`` does.

    Args:
        catalog: The catalog.
        files: Keys of all files in the store, and of checksums without a file.

    Returns:
        The keys of files, and of files of which only the checksum is left, that belong to no row; and those of files
        that a row refers to, and that are missing.
    """
    store = raster_store(catalog)
    stored = set(store.all_keys())
    described = {f"{match[1]}/{match[2]}" for key in files if (match := _CHECKSUM.fullmatch(key))}
    with catalog.read() as session:
        without_row = orphans(session, store, sorted(stored | described))
        expected = {file.key for file in expected_files(session, clicks=catalog.settings.interactive_clicks)}
    return without_row, sorted(expected - stored)


def _annotation(item: Mapping[str, object], task_id: int, proposal: str) -> Annotation:
    regions = iterate_regions(item["result"], height=PATCH_PX, width=PATCH_PX, labels=GLACIER_SCHEME.labels)
    lead_time = item.get("lead_time")
    return Annotation(
        id=int(str(item["id"])),
        task_id=task_id,
        proposal=proposal,
        skipped=bool(item.get("was_cancelled")),
        lead_time=float(lead_time) if isinstance(lead_time, int | float) else None,
        mask=draw(regions, PATCH_PX, PATCH_PX, GLACIER_SCHEME),
    )


def _mask(catalog: Catalog, label: Label) -> NDArray[np.uint8] | None:
    try:
        return mask_from_geotiff(raster_store(catalog).get(label.mask_key), GLACIER_SCHEME)
    except (StoreError, OSError, ValueError):
        return None


def _mlflow_runs(catalog: Catalog) -> list[MlflowRun]:
    tracking_of(catalog)  # gives MLflow's client the log-in
    client = MlflowClient(catalog.settings.mlflow_url)
    experiment = client.get_experiment_by_name(catalog.settings.experiment)
    if experiment is None:
        return []
    found, token = [], None
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        found += [MlflowRun(run.info.run_id, run.info.status, run.data.tags.get(UID_TAG)) for run in page]
        token = page.token
        if not token:
            return found


def all_files(store: Path) -> frozenset[str]:
    """Return the keys of a store, and its checksums that belong to no file."""
    found = {path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()}
    return frozenset(found - {checksum_file(key) for key in found})
