"""Conclude a fine-tune whose version is registered: move the aliases as the gate decided, and close the run."""

from collections.abc import Collection

from sqlalchemy import select

from catalog.context import Catalog
from catalog.records import Promotion, RunState, TrainingRun
from catalog.registry import CHALLENGER, CHAMPION, ModelRegistry, registry_of
from catalog.tracking import Tracking
from services.promotion import PROMOTED, keep, promote, settle_intents
from services.version_figures import figures_of
from workers.gate import Verdict
from workers.stopwatch import Stopwatch
from workers.training_run import close, note

ACTOR = "gate"


def conclude(
    catalog: Catalog, tracking: Tracking, run: TrainingRun, verdict: Verdict, watch: Stopwatch | None = None
) -> None:
    """Move the aliases and close the run. Idempotent: steps of an earlier attempt are not repeated.

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
    registry, version = registry_of(catalog.settings), run.model_version or 0
    aliases = registry.aliases()
    if aliases.get(CHAMPION if verdict.promoted else CHALLENGER) != version:
        (promote if verdict.promoted else keep)(catalog, registry, version, verdict.reason, ACTOR)
    if watch is not None:
        note(catalog, run, seconds=watch.seconds())
    close(catalog, tracking, run, RunState.FINISHED)


def conclude_recovered(catalog: Catalog, tracking: Tracking, run: TrainingRun) -> None:
    """Conclude a run whose attempt was killed after it had registered its version.

    A decision about the version stands, whoever made it, and so does a champion that was moved meanwhile.

    Raises:
        NotFoundError: the version was deleted in MLflow.
        ServiceDownError: MLflow does not answer.
    """
    registry = registry_of(catalog.settings)
    settle_intents(catalog, registry, run.model_version)
    if _is_decided(catalog, run):
        close(catalog, tracking, run, RunState.FINISHED)
        return
    figures = figures_of(registry.get(run.model_version or 0))
    verdict = Verdict(figures.verdict == PROMOTED, figures.verdict_reason)
    verdict = withheld_if_champion_moved(registry, verdict, {run.parent_version, run.model_version})
    conclude(catalog, tracking, run, verdict)


def withheld_if_champion_moved(registry: ModelRegistry, verdict: Verdict, expected: Collection[int | None]) -> Verdict:
    """Return the verdict, withheld if the champion is another than expected: the gain was measured over the parent.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    serving = registry.aliases().get(CHAMPION)
    if verdict.promoted and serving not in expected:
        return Verdict(False, f"{verdict.reason}, but meanwhile the champion was moved to version {serving}")
    return verdict


def _is_decided(catalog: Catalog, run: TrainingRun) -> bool:
    """Return whether the version of a run was promoted, kept or rolled back to already."""
    decision = select(Promotion.id).where(
        Promotion.model_version == run.model_version, Promotion.completed_at.is_not(None)
    )
    with catalog.read() as session:
        return session.scalar(decision.limit(1)) is not None
