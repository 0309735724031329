"""The end of a fine-tune whose version is registered: the aliases move as the gate decided, and the run is closed."""

from catalog.context import Catalog
from catalog.records import RunState, TrainingRun
from catalog.registry import CHALLENGER, CHAMPION, registry_of
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
    """Move the aliases and close the run; what an earlier attempt has done of it is not done again.

    Args:
        catalog: the catalog.
        tracking: MLflow.
        run: the run, whose version is registered.
        verdict: what the gate decided.
        watch: of the attempt that made the version; without it the seconds stay as that attempt noted them.

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
    """Bring a run to its end whose attempt was killed after it had registered its version.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    registry = registry_of(catalog.settings)
    settle_intents(catalog, registry, run.model_version)
    figures = figures_of(registry.get(run.model_version or 0))
    conclude(catalog, tracking, run, Verdict(figures.verdict == PROMOTED, figures.verdict_reason))
