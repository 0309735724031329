"""Conclude a fine-tune whose version is registered: move the aliases as the gate decided, and close the run."""

from collections.abc import Collection

from sqlalchemy import select

from catalog.context import Catalog
from catalog.decision_records import Promotion
from catalog.records import RunState, Scene, SceneRole, SceneState, TrainingRun
from catalog.registry import CHALLENGER, CHAMPION, LEARNER, ModelRegistry, registry_of
from catalog.tracking import Tracking
from models.gate import GateEvidence, Verdict
from services.promotion import (
    GATE,
    KEPT,
    PROMOTED,
    ROLLED_BACK,
    after_others,
    apply_verdict,
    set_back_learner,
    settle_intents,
)
from services.unusable_scenes import not_set_aside
from services.version_figures import figures_of, verdict_tags
from services.withdrawals import is_affected, note_trained_version
from workers.evaluation import evaluation_set
from workers.scene_masks import usable_scenes
from workers.stopwatch import Stopwatch
from workers.training_run import close, note
from workers.versions import load_card


def conclude(
    catalog: Catalog, tracking: Tracking, run: TrainingRun, verdict: Verdict, watch: Stopwatch | None = None
) -> None:
    """Move the aliases and close the run. Idempotent: steps of an earlier attempt are not repeated.

    The version becomes the learner whatever the verdict, unless a person moved the learner during the training. It is
    not promoted if another champion is served than the one that it was compared with, if labels that it or its parent
    learnt from were withdrawn, or if the validation scenes are not those any more that both were judged on; its tags
    then say so.

    Args:
        catalog: the catalog.
        tracking: MLflow.
        run: the run, whose version is registered.
        verdict: the gate's verdict.
        watch: stopwatch of the attempt that made the version; None keeps the seconds stored by that attempt.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    if watch is not None:
        watch.begin("promote")
    registry = registry_of(catalog.settings)
    after_others(lambda: _apply(catalog, tracking, registry, run, verdict))
    after_others(lambda: _set_back_if_astray(catalog, registry, run))
    note_trained_version(catalog)
    if watch is not None:
        note(catalog, run, seconds=watch.seconds())
    close(catalog, tracking, run, RunState.FINISHED)


def _apply(catalog: Catalog, tracking: Tracking, registry: ModelRegistry, run: TrainingRun, given: Verdict) -> None:
    aliases, version = registry.aliases(), run.model_version or 0
    verdict = withheld_if_champion_moved(aliases.get(CHAMPION), given, {judged_against(run), version})
    if judged_against(run) is not None and aliases.get(CHAMPION) != version:  # the first version is served unjudged
        verdict = _withheld_if_withdrawn(catalog, version, verdict)
        verdict = _withheld_if_truth_changed(catalog, version, verdict)
    if verdict != given:
        tracking.amend(version, verdict_tags(KEPT, verdict.reason), verdict.reason)
    if aliases.get(CHAMPION if verdict.promoted else CHALLENGER) == version:
        return
    learner = aliases.get(LEARNER, run.parent_version)
    apply_verdict(
        catalog,
        registry,
        version,
        verdict.reason,
        verdict.evidence.model_dump() if verdict.evidence else None,
        promoted=verdict.promoted,
        # A learner that learnt from withdrawn labels is replaced: this version was trained from one before it.
        move_learner=learner in {run.parent_version, version} or is_affected(catalog, learner),
        aliases=aliases,
    )


def conclude_recovered(catalog: Catalog, tracking: Tracking, run: TrainingRun) -> None:
    """Conclude a run whose attempt was killed after it had registered its version.

    A decision about the version stands, whoever made it, and so does a champion that was moved meanwhile.

    Raises:
        NotFoundError: the version was deleted in MLflow.
        ServiceDownError: MLflow does not answer.
    """
    registry = registry_of(catalog.settings)
    settle_intents(catalog, registry, run.model_version)
    if _decision_on(catalog, run.model_version) is not None:
        after_others(lambda: _set_back_if_astray(catalog, registry, run))
        note_trained_version(catalog)
        close(catalog, tracking, run, RunState.FINISHED)
        return
    figures = figures_of(registry.get(run.model_version or 0))
    evidence = GateEvidence.model_validate(figures.gate.model_dump()) if figures.gate else None
    verdict = Verdict(figures.verdict == PROMOTED, figures.verdict_reason, evidence)
    conclude(catalog, tracking, run, verdict)


def judged_against(run: TrainingRun) -> int | None:
    """Return the version that the gate compares the version of a run with; None before the first.

    Runs that an earlier release began do not name it: they started from the champion.
    """
    return run.champion_version or run.parent_version


def withheld_if_champion_moved(serving: int | None, verdict: Verdict, expected: Collection[int | None]) -> Verdict:
    """Return the verdict, withheld if another champion is served than expected: the gain was measured over that one."""
    if verdict.promoted and serving not in expected:
        reason = f"{verdict.reason}, but meanwhile the champion was moved to version {serving}"
        return Verdict(False, reason, verdict.evidence)
    return verdict


def _withheld_if_withdrawn(catalog: Catalog, version: int, verdict: Verdict) -> Verdict:
    """Return the verdict, withheld if labels that the version learnt from were withdrawn after it was registered."""
    if verdict.promoted and is_affected(catalog, version):
        reason = f"{verdict.reason}, but meanwhile labels that it learnt from were withdrawn"
        return Verdict(False, reason, verdict.evidence)
    return verdict


def _withheld_if_truth_changed(catalog: Catalog, version: int, verdict: Verdict) -> Verdict:
    """Return the verdict, withheld if a validation scene was removed, replaced or set aside since it was judged on."""
    if not verdict.promoted:
        return verdict
    judged_on = load_card(catalog, version).evaluation[SceneRole.VALIDATION.value]
    with catalog.read() as session:
        scenes = [session.get_one(Scene, scene_id) for scene_id in judged_on.scenes]
    ready = [scene for scene in scenes if scene.state is SceneState.READY]
    usable = usable_scenes(catalog, not_set_aside(catalog, ready))
    if len(usable) == len(scenes) and evaluation_set(catalog, usable) == judged_on:
        return verdict
    reason = f"{verdict.reason}, but meanwhile validation scenes that it was judged on were changed or set aside"
    return Verdict(False, reason, verdict.evidence)


def _set_back_if_astray(catalog: Catalog, registry: ModelRegistry, run: TrainingRun) -> None:
    """Make the champion the learner if this version and its parent are both worse than it, as the gate judged them.

    A single version that is worse may be due to a few careless labels, which the next ones outweigh; a second in a row
    has not recovered.
    """
    champion, version = run.champion_version, run.model_version
    aliases = registry.aliases()
    if champion is None or aliases.get(CHAMPION) != champion or aliases.get(LEARNER) != version:
        return
    if is_affected(catalog, champion):
        return  # nothing is trained from a version that learnt from withdrawn labels
    judged = [_decision_on(catalog, number) for number in (run.parent_version, version)]
    if all(decision is not None and _is_worse(decision, champion) for decision in judged):
        reason = (
            f"versions {run.parent_version} and {version} are both worse than version {champion}, which is served: "
            "training goes on from that"
        )
        set_back_learner(catalog, registry, version or 0, champion, reason, GATE)


def _is_worse(decision: Promotion, champion: int) -> bool:
    if decision.evidence is None:
        return False
    evidence = GateEvidence.model_validate(decision.evidence)
    return evidence.champion_version == champion and evidence.mean_iou.outcome == "worse"


def _decision_on(catalog: Catalog, version: int | None) -> Promotion | None:
    """Return the first completed decision about a version: promoted, kept or rolled back; None if there is none."""
    decisions = select(Promotion).where(
        Promotion.model_version == version, Promotion.verdict.in_((PROMOTED, KEPT, ROLLED_BACK))
    )
    with catalog.read() as session:
        return session.scalar(decisions.order_by(Promotion.id).limit(1))
