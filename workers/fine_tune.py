"""Job: train on all labels, judge the new version against the champion, register it, and move the aliases."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from catalog import training
from catalog.context import Catalog
from catalog.errors import CatalogError, ConflictError, JobLostError, LabelsWithdrawnError, SetAsideError
from catalog.records import Label, RunTrigger, Scene, SceneRole, SceneState, TrainingRun, now
from catalog.registry import CHAMPION, registry_of
from catalog.set_aside import Kind, standing
from catalog.tracking import Tracking
from catalog.withdrawals import check_standing
from imagery.classes import ClassScheme
from imagery.statistics import channel_statistics
from models.area_fit import fit_area_error
from models.bundle import write_bundle
from models.card import LabelProvenance, ModelOrigin, TrainingEnvironment
from models.gate import Verdict
from models.heads import head_classes
from models.inference import place
from models.segmenter import GlacierSegmenter
from models.training_config import TrainingConfig
from services import arms, stability
from services.block_changes import VALIDATION, BlockChange, block_changes, most_changed
from services.class_scheme import class_scheme, store_scheme
from services.doubted_labels import NO_DOUBTS, DoubtedLabel, Doubts
from services.places import bundle_cache, graph_cache, raster_store
from services.scenes import ready_scenes, source_of, strips_of
from services.unit_rules import level_of
from services.unusable_scenes import check_scenes, not_set_aside
from services.withdrawals import note_trained_version, unaffected_parent
from workers.calibration import calibrate
from workers.card_figures import figures_of_card
from workers.code_version import code_version
from workers.conclusion import conclude, conclude_recovered, judged_against, withheld_if_champion_moved
from workers.evaluation import evaluation_set
from workers.examination import examine
from workers.explanation import explain
from workers.jobs import JobContext
from workers.judgement import Champion, JudgedOn, champion_of, judge_version
from workers.label_classes import card_classes
from workers.label_doubts import doubts_of
from workers.label_repair import usable_labels
from workers.labelled_patches import LabelledPatchDataset
from workers.network_training import train_network
from workers.recipe import check_continues, first_channels, fresh_network, input_channels, training_config
from workers.run_recovery import recover
from workers.run_tracking import tracking_of
from workers.scene_masks import usable_scenes
from workers.stopwatch import Stopwatch
from workers.training_report import TrainingReport
from workers.training_run import (
    load_checkpoint,
    note,
    note_version,
    recording_failure,
    save_checkpoint,
    start_tracking,
)
from workers.versions import LoadedVersion, device, load_version
from workers.weak_patches import WeakPatches, prior_scenes, read_weak_patches

log = logging.getLogger(__name__)

LONGEST_PARAMETER: Final = 500  # characters that every store of MLflow takes


def fine_tune(context: JobContext, trigger: str) -> None:
    """Train the next version from the learner on all labels; it becomes the learner and, if the gate allows, champion.

    An interrupted training resumes from its checkpoint. One whose labels are withdrawn begins anew without them.

    Raises:
        ConflictError: there is no validation scene, no label or no pixel of known class, or the settings contradict the
            class scheme, the learner or, before the first version, the channels of the pool.
        JobInterruptedError: the worker is shutting down; the run resumes later.
        JobCancelledError: someone cancelled the job.
        JobLostError: the job was given to another worker, which has the run now.
        NotFoundError: the version that an earlier attempt registered was deleted in MLflow; the run is closed.
        ServiceDownError: MLflow does not answer; the next attempt resumes or closes the run.
        SetAsideError: every validation scene is set aside, or everything that there is to learn from.
    """
    watch = Stopwatch("load")
    catalog, tracking = context.catalog, tracking_of(context.catalog)
    run = recover(catalog, tracking)
    if run is not None and run.model_version is not None:
        with recording_failure(catalog, tracking, run, concluding=True):
            conclude_recovered(catalog, tracking, run)
        return
    if run is None:
        _scenes_to_judge_on(catalog)  # raises before there is a row
        run = _begin_run(catalog, trigger)
    try:
        with recording_failure(catalog, tracking, run):
            verdict = _train_and_register(context, tracking, run, _scenes_to_judge_on(catalog), watch)
            _check_owned(context, run)
            conclude(catalog, tracking, run, verdict, watch)
    except LabelsWithdrawnError as error:
        log.warning("%s", error)
        fine_tune(context, RunTrigger.WITHDRAWAL.value)


def _check_standing(catalog: Catalog, run: TrainingRun) -> None:
    """Raise LabelsWithdrawnError if labels of a run were withdrawn, or labels that its parent learnt from."""
    with catalog.read() as session:
        check_standing(session, run)


def _check_owned(context: JobContext, run: TrainingRun) -> None:
    """Raise JobLostError if the job was given to another worker, which concludes the run."""
    steps = training_config(context.catalog.settings, run.seed, len(run.label_ids)).steps
    context.progress(steps, steps, f"applying the gate to version {run.model_version}")


@dataclass(frozen=True)
class _TrainingInputs:
    """The inputs of a training.

    Attributes:
        parent: The version whose weights it takes; None for a fresh network.
        segmenter: The network to train, on its device.
        labels: What it learns from.
        config: How it is trained.
        patch_size: Side of the patches, pixels.
        scheme: The classes.
        weak: Patches with prior outlines, which it learns from beside the labels.
    """

    parent: LoadedVersion | None
    segmenter: GlacierSegmenter
    labels: Sequence[Label]
    config: TrainingConfig
    patch_size: int
    scheme: ClassScheme
    weak: WeakPatches

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the inputs, by which a checkpoint of another training is refused."""
        network = self.segmenter
        parts = [
            self.config.to_json(),
            [label.id for label in self.labels],
            network.channels,
            network.head,
            network.input_normalization,
            network.unet.config.to_json(),
            self.parent.version.version if self.parent else None,
            self.weak.fingerprint,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _scenes_to_judge_on(catalog: Catalog) -> dict[SceneRole, list[Scene]]:
    """Return the scenes with outlines by role; those that cannot be read are set aside and left out."""
    with catalog.read() as session:
        ready = {role: ready_scenes(session, [role]) for role in (SceneRole.VALIDATION, SceneRole.TEST)}
    found = {
        role: usable_scenes(catalog, [scene for scene in scenes if scene.outlines]) for role, scenes in ready.items()
    }
    if not found[SceneRole.VALIDATION]:
        with catalog.read() as session:
            of_role = select(Scene.id).where(Scene.role == SceneRole.VALIDATION, Scene.state == SceneState.READY)
            known = set(session.scalars(of_role))
            aside = [f"{row.name}: {row.reason}" for row in standing(session, Kind.SCENE) if row.number in known]
        if aside:
            raise SetAsideError(
                "found every scene with the role 'validation' set aside; without one nobody can tell whether a new "
                f"version is better: this job goes on by itself when one is back ({'; '.join(aside)})"
            )
        raise ConflictError(
            "found no ready scene with the role 'validation' and outlines; without one nobody can tell whether a new "
            "version is better: register one, then retry this job"
        )
    return {role: scenes for role, scenes in found.items() if scenes}


def _begin_run(catalog: Catalog, trigger: str) -> TrainingRun:
    with catalog.write() as session:
        store_scheme(session, catalog.settings)
        run = training.begin_run(session, RunTrigger(trigger), catalog.settings.training_seed)
        fields = training.traced(session, run)
    log.info("training run %d learns from %d labels, new ones listed here", run.id, len(run.label_ids), extra=fields)
    return run


def _train_and_register(
    context: JobContext, tracking: Tracking, run: TrainingRun, judged_on: JudgedOn, watch: Stopwatch
) -> Verdict:
    catalog = context.catalog
    inputs = _load_inputs(catalog, run)
    _check_standing(catalog, run)
    segmenter, config = inputs.segmenter, inputs.config
    dataset = LabelledPatchDataset(inputs.labels, segmenter.channels, raster_store(catalog), inputs.scheme)
    trained_on = _training_scenes(inputs, segmenter.channels)
    dataset.fill()
    if not dataset.teaches:
        if inputs.weak.dataset is None:
            raise ConflictError(
                f"found no pixel of known class in the {len(inputs.labels)} labels to learn from (pixels under masked "
                "flags or without data have none), and no prior outlines to learn from; label more patches in Label "
                "Studio"
            )
        inputs = replace(inputs, weak=replace(inputs.weak, share=1.0))
    further = {**inputs.weak.parameters, **_left_out(catalog)}
    start_tracking(catalog, tracking, run, config, segmenter, further)
    sets = {role: evaluation_set(catalog, judged_on[role]) for role in judged_on}
    watch.begin("evaluate")
    champion = champion_of(catalog, run, inputs.parent, judged_on, sets, inputs.patch_size)
    doubts = _doubts(catalog, run, inputs)
    segmenter.orientations = catalog.settings.map_orientations
    watch.begin("train")
    _train(context, tracking, run, inputs, dataset, judged_on[SceneRole.VALIDATION])
    watch.begin("evaluate")
    context.progress(config.steps, config.steps, "judging what was learnt")
    names = head_classes(segmenter.head, inputs.scheme.names, inputs.scheme.foreground)
    calibration = calibrate(
        catalog, segmenter, judged_on[SceneRole.VALIDATION], inputs.patch_size, names, catalog.settings.calibration
    )
    found = {role: examine(catalog, segmenter, judged_on[role], inputs.patch_size) for role in judged_on}
    after = {role: examination.evaluation for role, examination in found.items()}
    judgement = judge_version(after, len(inputs.labels), champion, names, catalog.settings, doubts)
    test = found.get(SceneRole.TEST)
    origin = ModelOrigin(
        classes=names,
        label_classes=card_classes(inputs.scheme),
        patch_size_px=inputs.patch_size,
        **trained_on,
        parent_version=run.parent_version,
        champion_version=run.champion_version,
        labels=_provenance(run, inputs.labels),
        training=config,
        code_version=code_version(),
        evaluation={role.value: judged for role, judged in sets.items()},
        metrics={role.value: evaluation.metrics for role, evaluation in after.items()},
        blocks={role.value: evaluation.blocks for role, evaluation in after.items()},
        gain={role.value: gain for role, gain in judgement.gains.items()},
        gate=judgement.verdict.evidence,
        created_at=now(),
        priors=inputs.weak.provenance,
        environment=TrainingEnvironment.of(segmenter.device),
        calibration=calibration,
        area_error=fit_area_error(
            found[SceneRole.VALIDATION].evidence, names, inputs.scheme.foreground, test.evidence if test else None
        ),
    )
    changed = _most_changed(origin, champion)
    context.progress(config.steps, config.steps, "finding out what the network looks at")
    scenes = judged_on[SceneRole.VALIDATION]
    saliency = explain(catalog, segmenter, scenes, inputs.patch_size, names, changed)
    origin = origin.model_copy(update={"saliency": saliency})
    context.progress(config.steps, config.steps, "exporting and registering")
    return _register(context, tracking, run, segmenter, origin, judgement.verdict, doubts.labels, watch)


def _most_changed(origin: ModelOrigin, champion: Champion | None) -> list[BlockChange]:
    """Return the blocks of the validation scenes that a version maps much better or worse than the champion."""
    if champion is None:
        return []
    card = origin.model_dump(mode="json", include={"blocks", "evaluation", "classes"})
    served = {**card, "blocks": {VALIDATION: champion.evaluations[SceneRole.VALIDATION].blocks.model_dump(mode="json")}}
    gained, lost = most_changed(block_changes(card, served))
    return gained + lost


def _doubts(catalog: Catalog, run: TrainingRun, inputs: _TrainingInputs) -> Doubts:
    number = judged_against(run)
    if number is None:
        return NO_DOUBTS
    parent = inputs.parent
    champion = parent if parent is not None and parent.version.version == number else load_version(catalog, number)
    return doubts_of(catalog, champion, inputs.labels, inputs.scheme)


def _training_scenes(inputs: _TrainingInputs, channels: Sequence[str]) -> dict[str, Any]:
    """Return the fields of `ModelOrigin` about the scenes it learns from: units of the channels, levels, sensors.

    Raises:
        ConflictError: the scenes differ in the unit of a channel.
    """
    learnt_from = (*(label.patch.scene for label in inputs.labels), *inputs.weak.scenes)
    scenes = list({scene.id: scene for scene in learnt_from}.values())
    sources = [source_of(scene) for scene in scenes]
    return {
        "input_channels": input_channels(channels, sources),
        "levels": tuple(sorted({level for source in sources if (level := level_of(source)) is not None})),
        "sensors": tuple(sorted({scene.sensor for scene in scenes if scene.sensor})),
    }


def _load_inputs(catalog: Catalog, run: TrainingRun) -> _TrainingInputs:
    """Load the inputs of a run; a resumed run keeps the parent and the champion that it began with.

    Raises:
        ConflictError: the settings contradict the parent's network, or cannot make a first one.
    """
    with catalog.read() as session:
        asked = training.labels_of_run(session, run)
        with_priors = [scene for scene in ready_scenes(session, [SceneRole.POOL]) if scene.prior_outlines is not None]
    usable_scenes(catalog, with_priors)
    labels = _usable_labels(catalog, run, asked)
    with catalog.read() as session:
        priors = prior_scenes(session, labels)
    config = training_config(catalog.settings, run.seed, len(labels) or None).resolve_precision(device(catalog))
    if run.parent_version is None:
        _choose_parent(catalog, run)
    parent = None if run.parent_version is None else load_version(catalog, run.parent_version)
    scheme = class_scheme(catalog)
    segmenter = _network(catalog, run, parent, scheme)
    weak = read_weak_patches(catalog, priors, segmenter.channels, scheme, len(labels), run.seed)
    size = labels[0].patch.size_px if labels else priors[0].scene.patch_size_px
    return _TrainingInputs(parent, segmenter, labels, config, size, scheme, weak)


def _usable_labels(catalog: Catalog, run: TrainingRun, labels: Sequence[Label]) -> list[Label]:
    """Return the labels of a run whose scene and mask can be read; the run does not learn the others.

    Raises:
        SetAsideError: there is no such label, and no prior outline either; the run keeps its labels.
    """
    scenes = {label.patch.scene_id: label.patch.scene for label in labels}
    readable = {scene.id for scene in check_scenes(catalog, not_set_aside(catalog, scenes.values()))}
    usable = usable_labels(catalog, [label for label in labels if label.patch.scene_id in readable])
    if len(usable) < len(labels):
        with catalog.read() as session:
            if not usable and not training.has_priors(session):
                raise training.all_aside(training.left_out(session))
        note(catalog, run, label_ids=[label.id for label in usable], labels_sha256=training.checksum(usable))
    return usable


def _left_out(catalog: Catalog) -> dict[str, object]:
    """Return the parameter of an MLflow run that names the labels which are set aside."""
    with catalog.read() as session:
        left_out = training.left_out(session)
    for label_id, reason in sorted(left_out.items()):
        log.warning("training goes on without label %d: %s", label_id, reason)
    return {"labels_left_out": ", ".join(map(str, sorted(left_out)))[:LONGEST_PARAMETER] or "none"}


def _choose_parent(catalog: Catalog, run: TrainingRun) -> None:
    """Store in a run the version from which it starts, and the champion, with which its version is compared.

    It starts from the learner, or the newest version of its line that learnt from no withdrawn label.
    """
    registry = registry_of(catalog.settings)
    learner, champion = registry.learner(), registry.champion()
    if learner is None and champion is None and not registry.versions(limit=1):
        return  # the first version
    if learner is None or champion is None:
        raise ConflictError(
            "found versions but no champion, so nothing to compare a new one with; promote one of them, then retry"
        )
    note_trained_version(catalog)  # of a run whose conclusion failed, whose version may be the learner nevertheless
    parent = unaffected_parent(catalog, registry, learner)
    note(catalog, run, parent_version=parent, champion_version=champion.version)


def _network(catalog: Catalog, run: TrainingRun, parent: LoadedVersion | None, scheme: ClassScheme) -> GlacierSegmenter:
    """Return the parent's network or, without one, a new one with the channel statistics of the pool.

    That of the first version has the channels of the settings; later ones are of the champion's kind, so that the gate
    can compare the two.

    Raises:
        ConflictError: the settings contradict the network of the parent or the champion, or cannot make a first one.
    """
    settings = catalog.settings
    if parent is not None:
        check_continues(settings, parent.segmenter)
        return parent.segmenter
    with catalog.read() as session:
        pool = {scene.name: source_of(scene) for scene in ready_scenes(session, [SceneRole.POOL])}
    number = judged_against(run)
    if number is None:
        channels = first_channels(settings, pool)
    else:
        champion = load_version(catalog, number).segmenter
        check_continues(settings, champion)
        channels = champion.channels
    statistics = channel_statistics(((source, strips_of(source.grid)) for source in pool.values()), channels)
    return place(fresh_network(settings, channels, statistics, run.seed, scheme.ranked), device(catalog))


def _train(
    context: JobContext,
    tracking: Tracking,
    run: TrainingRun,
    inputs: _TrainingInputs,
    dataset: LabelledPatchDataset,
    validation: Sequence[Scene],
) -> None:
    catalog, fingerprint = context.catalog, inputs.fingerprint
    report = TrainingReport(
        context, tracking, str(run.mlflow_run_id), lambda state: save_checkpoint(catalog, run, state, fingerprint)
    )
    train_network(
        catalog,
        inputs.segmenter,
        dataset,
        inputs.weak,
        inputs.config,
        validation,
        inputs.patch_size,
        report,
        load_checkpoint(catalog, run, fingerprint),
    )


def _provenance(run: TrainingRun, labels: Sequence[Label]) -> LabelProvenance:
    return LabelProvenance(
        ids=tuple(run.label_ids),
        count=len(labels),
        simulated_count=sum(label.simulated for label in labels),
        sha256=run.labels_sha256,
    )


def _register(
    context: JobContext,
    tracking: Tracking,
    run: TrainingRun,
    segmenter: GlacierSegmenter,
    origin: ModelOrigin,
    verdict: Verdict,
    doubted: Sequence[DoubtedLabel],
    watch: Stopwatch,
) -> Verdict:
    """Register the version with its figures; return the verdict, withheld if the champion was moved meanwhile."""
    settings, run_id, steps = context.catalog.settings, str(run.mlflow_run_id), origin.training.steps
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder)
        watch.begin("export")
        card = write_bundle(bundle, segmenter, origin, graph_cache(settings))
        watch.begin("register")
        serving = registry_of(settings).aliases().get(CHAMPION)
        verdict = withheld_if_champion_moved(serving, verdict, {judged_against(run)})
        figures = figures_of_card(card, verdict, bundle, doubted)
        with context.catalog.read() as session:
            of_arms = arms.compare(arms.read_labels(session)).metrics()
            agreements = stability.read(session, limit=1)  # of earlier versions: this one has not scored the pool yet
        names = class_scheme(context.catalog).names
        of_stability = agreements[0].metrics(names) if agreements else {}
        tracking.log_metrics(run_id, {**figures.metrics(), **of_arms, **of_stability}, steps)
        _check_standing(context.catalog, run)
        context.progress(steps, steps, "registering")  # raises if the job was given to another worker
        version = tracking.register(run_id, bundle, figures.to_tags(), verdict.reason)
        try:
            note_version(context.catalog, run, version, watch.seconds())
        except (JobLostError, LabelsWithdrawnError):
            tracking.delete_unnamed([version])
            raise
        with context.catalog.read() as session:
            fields = {**training.traced(session, run), "version": version}
        log.info("version %d is registered", version, extra=fields)
        _fill_cache(context.catalog, version, bundle)  # the next scoring and the next training read it
    return verdict


def _fill_cache(catalog: Catalog, version: int, bundle: Path) -> None:
    """Copy a bundle into this machine's cache; other machines download it from MLflow."""
    registry = registry_of(catalog.settings)
    try:
        bundle_cache(catalog.settings, registry).adopt(registry.get(version), bundle)
    except (CatalogError, OSError) as error:
        log.warning("version %d could not be kept in the cache: %s", version, error)
