"""Job: learn from all labels so far, prove the gain on the validation region, register the version, judge it."""

import logging
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from catalog import jobs, training
from catalog.context import Catalog
from catalog.errors import CatalogError, ConflictError, JobLostError, ServiceDownError
from catalog.records import JobKind, Label, Patch, RunState, RunTrigger, Scene, SceneRole, TrainingRun, now
from catalog.registry import CHAMPION, registry_of
from catalog.settings import Settings
from catalog.tracking import Tracking
from imagery.classes import CLASSES, UNKNOWN
from imagery.statistics import channel_statistics
from models.bundle import write_bundle
from models.card import Gain, LabelProvenance, ModelOrigin
from models.heads import head_classes
from models.inference import place
from models.segmenter import GlacierSegmenter
from models.training import TrainingConfig, Validate, fit
from services.places import bundle_cache, graph_cache, raster_store
from services.promotion import PROMOTED, keep, promote
from services.scenes import ready_scenes, source_of, strips_of
from services.version_figures import figures_of
from workers.card_figures import figures_of_card
from workers.code_version import code_version
from workers.evaluation import evaluate, evaluation_set, known_metrics
from workers.gate import Verdict, judge
from workers.jobs import Work
from workers.labelled_patches import LabelledPatchDataset
from workers.recipe import check_continues, first_channels, fresh_network, training_config
from workers.stopwatch import Stopwatch
from workers.time_limit import JobTimeLimit
from workers.training_report import TrainingReport
from workers.versions import LoadedVersion, device, load_champion

log = logging.getLogger(__name__)

ACTOR = "gate"


def fine_tune(work: Work, trigger: str) -> None:
    """Train the next version from the champion and all labels, and promote it if the gate lets it through.

    Raises:
        ConflictError: there is no validation scene to judge by, or no label to learn from, or the settings do not go
            with the champion or, before the first version, with the pool.
        ServiceDownError: MLflow does not answer; the run is closed as killed by the next attempt.
    """
    watch = Stopwatch("load")
    settings = work.catalog.settings
    tracking = Tracking(settings.mlflow_url, settings.experiment, settings.registered_model)
    if _finish_interrupted(work, tracking):
        return
    with work.catalog.read() as session:
        scenes = {
            role: [scene for scene in ready_scenes(session, [role]) if scene.outlines]
            for role in (SceneRole.VALIDATION, SceneRole.TEST)
        }
    if not scenes[SceneRole.VALIDATION]:
        raise ConflictError(
            "found no ready scene with the role 'validation' and outlines; without one nobody can tell whether a new "
            "version is better: register one, then retry this job"
        )
    with work.catalog.write() as session:
        run = training.begin_run(session, RunTrigger(trigger))
    with _closing(work, tracking, run):
        verdict = _train_and_register(work, tracking, run, scenes, watch)
        _conclude(work, tracking, run, verdict, watch)


def _train_and_register(
    work: Work, tracking: Tracking, run: TrainingRun, scenes: dict[SceneRole, list[Scene]], watch: Stopwatch
) -> Verdict:
    catalog, settings = work.catalog, work.catalog.settings
    labels = _labels(work, run)
    patch_size = labels[0].patch.size_px
    config = training_config(settings, run.seed).settled(device(catalog))
    parent = load_champion(catalog)
    if parent is None and registry_of(settings).versions(limit=1):
        raise ConflictError("found versions but no champion, so nothing to start from; promote one of them, then retry")
    segmenter = _starting_point(work, parent, run.seed)
    dataset = LabelledPatchDataset(labels, segmenter.channels, raster_store(catalog))
    dataset.fill()
    run_id = _start_tracking(tracking, run, config, segmenter, parent)
    _note(work, run, mlflow_run_id=run_id, parent_version=parent.version.version if parent else None)
    judged_on = {role: of_role for role, of_role in scenes.items() if of_role}
    sets = {role: evaluation_set(catalog, judged_on[role]) for role in judged_on}
    code = code_version()
    watch.begin("evaluate")  # the parent before the training, which moves its weights
    before = {
        role: known_metrics(parent.card, role, sets[role], patch_size, code)
        or evaluate(catalog, segmenter, judged_on[role], patch_size)
        for role in judged_on
        if parent is not None
    }
    watch.begin("train")
    validate = _validation(catalog, judged_on[SceneRole.VALIDATION], patch_size) if config.needs_validation else None
    fit(segmenter, dataset, config, device(catalog), UNKNOWN.value, TrainingReport(work, tracking, run_id), validate)
    watch.begin("evaluate")
    after = {role: evaluate(catalog, segmenter, judged_on[role], patch_size) for role in judged_on}
    gain = {role: Gain.between(before[role], after[role]) for role in before}
    verdict = judge(gain.get(SceneRole.VALIDATION), settings)
    origin = ModelOrigin(
        classes=head_classes(segmenter.head, [item.name for item in CLASSES]),
        patch_size_px=patch_size,
        parent_version=parent.version.version if parent else None,
        labels=_provenance(run, labels),
        training=config,
        code_version=code,
        evaluation={role.value: judged for role, judged in sets.items()},
        metrics={role.value: metrics for role, metrics in after.items()},
        gain={role.value: difference for role, difference in gain.items()},
        created_at=now(),
    )
    work.progress(config.steps, config.steps, "exporting and registering")
    return _register(work, tracking, run, parent, segmenter, origin, verdict, watch)


def _provenance(run: TrainingRun, labels: Sequence[Label]) -> LabelProvenance:
    return LabelProvenance(
        ids=tuple(run.label_ids),
        count=len(labels),
        simulated_count=sum(label.simulated for label in labels),
        sha256=run.labels_sha256,
    )


def _register(
    work: Work,
    tracking: Tracking,
    run: TrainingRun,
    parent: LoadedVersion | None,
    segmenter: GlacierSegmenter,
    origin: ModelOrigin,
    verdict: Verdict,
    watch: Stopwatch,
) -> Verdict:
    """Register the version with its figures; return the verdict, which someone may have overtaken meanwhile."""
    settings, run_id, steps = work.catalog.settings, str(run.mlflow_run_id), origin.training.steps
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder)
        watch.begin("export")
        card = write_bundle(bundle, segmenter, origin, graph_cache(settings))
        watch.begin("register")
        verdict = _unless_overtaken(settings, parent, verdict)
        figures = figures_of_card(card, verdict, bundle)
        tracking.log_metrics(run_id, figures.metrics(), steps)
        work.progress(steps, steps, "registering")  # also asks whether the job is still ours
        version = tracking.register(run_id, bundle, figures.to_tags(), verdict.reason)
        _note(work, run, model_version=version, seconds=watch.seconds())
        if verdict.promoted:
            _keep_here(work.catalog, version, bundle)
    return verdict


def _keep_here(catalog: Catalog, version: int, bundle: Path) -> None:
    """Put a bundle into this machine's cache; who needs it would otherwise fetch it from MLflow, and still can."""
    registry = registry_of(catalog.settings)
    try:
        bundle_cache(catalog.settings, registry).adopt(registry.get(version), bundle)
    except (CatalogError, OSError) as error:
        log.warning("version %d could not be kept in the cache: %s", version, error)


def _unless_overtaken(settings: Settings, parent: LoadedVersion | None, verdict: Verdict) -> Verdict:
    """Withhold a promotion if someone moved the champion during the training: the gain is over another version."""
    serving = registry_of(settings).champion()
    found, expected = serving and serving.version, parent and parent.version.version
    if verdict.promoted and found != expected:
        return Verdict(False, f"{verdict.reason}, but meanwhile the champion was moved to version {found}")
    return verdict


def _conclude(
    work: Work, tracking: Tracking, run: TrainingRun, verdict: Verdict, watch: Stopwatch | None = None
) -> None:
    """Move the aliases as the gate decided and close the run. Done twice, it does nothing the second time.

    Args:
        work: The job.
        tracking: MLflow.
        run: The run, whose version is registered.
        verdict: What the gate decided.
        watch: Of the attempt that made the version; without it the seconds stay as that attempt noted them.
    """
    if watch is not None:
        watch.begin("promote")
    registry = registry_of(work.catalog.settings)
    version = run.model_version or 0
    served_already = registry.aliases().get(CHAMPION) == version  # by an attempt that was killed right afterwards
    decision = None
    if not served_already:
        decision = (promote if verdict.promoted else keep)(registry, version, verdict.reason, ACTOR)
    if run.mlflow_run_id is not None:
        tracking.end_run(run.mlflow_run_id, "FINISHED")
    with work.catalog.write() as session:
        if decision is not None:
            session.add(decision)
        if verdict.promoted:
            jobs.enqueue(session, JobKind.SCORE_POOL)
        closed = training.end_run(session, run.id, RunState.FINISHED)
        if watch is not None:
            closed.seconds = watch.seconds()


def _starting_point(work: Work, parent: LoadedVersion | None, seed: int) -> GlacierSegmenter:
    """Return the champion's network or, before the first, fresh weights and the statistics of the pool.

    Raises:
        ConflictError: the settings contradict the champion's network, or cannot make a first one.
    """
    settings = work.catalog.settings
    if parent is not None:
        check_continues(settings, parent.segmenter)
        return parent.segmenter
    with work.catalog.read() as session:
        pool = {scene.name: source_of(scene) for scene in ready_scenes(session, [SceneRole.POOL])}
    channels = first_channels(settings, pool)
    statistics = channel_statistics(((source, strips_of(source.grid)) for source in pool.values()), channels)
    return place(fresh_network(settings, channels, statistics, seed), device(work.catalog))


def _labels(work: Work, run: TrainingRun) -> Sequence[Label]:
    statement = (
        select(Label)
        .where(Label.id.in_(run.label_ids))
        .options(joinedload(Label.proposal), joinedload(Label.patch).joinedload(Patch.scene))
        .order_by(Label.id)
    )
    with work.catalog.read() as session:
        return list(session.scalars(statement))


def _start_tracking(
    tracking: Tracking,
    run: TrainingRun,
    config: TrainingConfig,
    segmenter: GlacierSegmenter,
    parent: LoadedVersion | None,
) -> str:
    parameters = {
        **config.to_json(),
        **{f"unet.{name}": value for name, value in segmenter.unet.config.to_json().items()},
        "head": segmenter.head,
        "input_normalization": segmenter.input_normalization,
        "channels": ",".join(segmenter.channels),
        "labels": len(run.label_ids),
    }
    described = {
        "parent_version": str(parent.version.version) if parent else "",
        "trigger": run.trigger.value,
        "labels.sha256": run.labels_sha256,
        "training_run": str(run.id),
    }
    return tracking.start_run(f"fine-tune {run.id}", parameters, described)


def _validation(catalog: Catalog, scenes: Sequence[Scene], patch_size: int) -> Validate:
    """Return the validation score of presets that steer by one: the mean IoU that the gate also judges by."""

    def score(segmenter: GlacierSegmenter) -> float:
        mean_iou = evaluate(catalog, segmenter, scenes, patch_size).mean_iou
        return math.nan if mean_iou is None else mean_iou

    return score


def _note(work: Work, run: TrainingRun, **values: object) -> None:
    with work.catalog.write() as session:
        row = session.get_one(TrainingRun, run.id)
        for name, value in values.items():
            setattr(row, name, value)
            setattr(run, name, value)


def _finish_interrupted(work: Work, tracking: Tracking) -> bool:
    """Bring the run of an attempt that was killed to its end: to its promotion if it had registered its version.

    Returns:
        Whether its work is thereby done; otherwise it was closed as killed, here and in MLflow, and is to be redone.
    """
    with work.catalog.read() as session:
        left = training.interrupted_run(session)
    if left is None:
        return False
    if left.model_version is not None:
        figures = figures_of(registry_of(work.catalog.settings).get(left.model_version))
        _conclude(work, tracking, left, Verdict(figures.verdict == PROMOTED, figures.verdict_reason))
        return True
    if left.mlflow_run_id is not None:
        tracking.end_run(left.mlflow_run_id, "KILLED")
    with work.catalog.write() as session:
        training.end_run(session, left.id, RunState.KILLED, "its worker died")
    return False


@contextmanager
def _closing(work: Work, tracking: Tracking, run: TrainingRun) -> Iterator[None]:
    """Close a run that an exception ends, here and in MLflow: killed if it was interrupted, failed if it went wrong."""
    try:
        yield
    except ServiceDownError:
        raise  # left open: MLflow cannot be told now; the next attempt will close it as killed
    except (JobTimeLimit, JobLostError) as error:
        _close(work, tracking, run, RunState.KILLED, str(error))
        raise
    except Exception as error:
        _close(work, tracking, run, RunState.FAILED, str(error))
        raise


def _close(work: Work, tracking: Tracking, run: TrainingRun, state: RunState, error: str) -> None:
    # Our row first: MLflow may be what went wrong.
    with work.catalog.write() as session:
        training.end_run(session, run.id, state, error)
    if run.mlflow_run_id is not None:
        tracking.end_run(run.mlflow_run_id, state.value.upper())
