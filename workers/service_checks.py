"""Checks of the parts around the database: whether they answer, and whether their records agree with our rows."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import select

from catalog.context import Catalog
from catalog.decision_records import Promotion
from catalog.errors import ConflictError
from catalog.records import Proposal, ProposalState, RunState, TrainingRun
from catalog.registry import registry_of
from services.installation_findings import Finding, fault, listed, ok, warning
from services.label_studio import find_project, label_studio
from services.part_checks import part_faults

if TYPE_CHECKING:
    from catalog.tracking import Tracking


def check_parts(catalog: Catalog) -> Iterator[Finding]:
    """Tell what the clock last found of the other parts."""
    with catalog.read() as session:
        faults = part_faults(session)
    for name, found in faults.items():
        if found is None:
            yield ok(f"part {name}", "up")
        else:
            yield fault(f"part {name}", found, "up", "see its log in the folder `logs`")


def check_mlflow(catalog: Catalog) -> Iterator[Finding]:
    """Compare versions and runs in MLflow with training runs and decisions."""
    from workers.run_tracking import UID_TAG, tracking_of  # MLflow's library takes seconds to load

    versions = {version.version for version in registry_of(catalog.settings).versions(limit=10_000)}
    with catalog.read() as session:
        runs = session.scalars(select(TrainingRun)).all()
        decided = set(session.scalars(select(Promotion.model_version)))
    learnt = {run.model_version for run in runs if run.model_version is not None}
    if unknown := versions - learnt - decided:
        yield warning(
            "versions without run",
            listed(sorted(unknown)),
            "a training run of each",
            "see where they come from in MLflow",
        )
    if gone := learnt - versions:
        yield warning(
            "runs without version", listed(sorted(gone)), "none", "they were deleted in MLflow, or it is older"
        )
    if not unknown and not gone:
        yield ok("versions", f"{len(versions)}, each of a training run")
    tracking = tracking_of(catalog)
    open_uids = {run.uid for run in runs if run.state in {RunState.OPEN, RunState.INTERRUPTED}}
    running = tracking.running(UID_TAG)
    if others := [run_id for run_id, uid in running.items() if not uid]:
        yield warning(
            "MLflow's other runs",
            f"{listed(others)} running without the tag {UID_TAG}",
            "none in our experiment",
            "nothing, if you know what they are; else end them in MLflow",
        )
    left = {run_id: uid for run_id, uid in running.items() if uid and uid not in open_uids}
    if left:
        fix = partial(_end_runs, tracking, left)
        yield fault(
            "MLflow's runs", f"{listed(left)} running", "ended: no fine-tune has them", "end them as killed", fix
        )
    else:
        yield ok("MLflow's runs", "none left running")


def _end_runs(tracking: "Tracking", left: Mapping[str, str]) -> str:
    for run_id in left:
        tracking.end_run(run_id, "KILLED")
    return f"{len(left)} ended as killed"


def check_label_studio(catalog: Catalog) -> Iterator[Finding]:
    """Compare the tasks in Label Studio with our proposals."""
    studio = label_studio(catalog)
    project_id = find_project(catalog, studio)
    if project_id is None:
        yield ok("tasks", "no project yet; the first round creates it")
        return
    tasks = studio.proposals_of_tasks(project_id)
    with catalog.read() as session:
        published = (ProposalState.PUBLISHED, ProposalState.LABELLED, ProposalState.SKIPPED)
        rows = session.execute(select(Proposal.uid, Proposal.state).where(Proposal.project_id == project_id)).all()
        uids = set(session.scalars(select(Proposal.uid)))
    unknown = {task_id: uid for task_id, uid in tasks.items() if uid not in uids}
    if unknown:
        fix = partial(_delete_tasks, catalog, project_id, unknown) if any(unknown.values()) else None
        yield fault(
            "tasks without proposal",
            listed(unknown),
            "none",
            "delete those that nobody has begun; look at the rest",
            fix,
        )
    present = set(tasks.values())
    missing = [uid for uid, state in rows if state in published and uid not in present]
    if missing:
        yield warning(
            "proposals without task", listed(missing), "a task of each", "nothing: the next reconciliation records it"
        )
    if not unknown and not missing:
        yield ok("tasks", f"{len(tasks)}, each of a proposal")


def _delete_tasks(catalog: Catalog, project_id: int, unknown: Mapping[int, str | None]) -> str:
    """Delete the tasks that nobody has begun.

    Args:
        catalog: The catalog.
        project_id: The project.
        unknown: The tasks, with the proposal that each names; None if it names none.

    Raises:
        ConflictError: Some stay.
    """
    studio = label_studio(catalog)
    studio.delete_unanswered(project_id, sorted({uid for uid in unknown.values() if uid}))
    left = sorted(unknown.keys() & studio.proposals_of_tasks(project_id).keys())
    if left:
        raise ConflictError(
            f"{len(unknown) - len(left)} deleted; {listed(left)} left, because somebody has begun them or they name no "
            "proposal; look at them in Label Studio"
        )
    return f"{len(unknown)} deleted"
