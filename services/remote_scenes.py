"""Scenes whose files lie on another machine, as HTTP requests ask for them: a job describes and registers them.

Reading from another machine takes as long as that machine likes, so that no request thread does it. The request is
stored and answered at once; a job carries it out, and notes what was understood, or why it was refused.
"""

from pydantic import BaseModel, ConfigDict

from catalog import jobs, scene_requests
from catalog.context import Catalog
from catalog.errors import ConflictError, InvalidInputError, NotFoundError
from catalog.records import Job, JobKind, now
from catalog.scene_requests import RemoteSceneRequest
from imagery.errors import OutlineError, SceneError
from imagery.lacking import was_lacking
from services.contained_description import describe_contained
from services.registration import check, store_scene
from services.scene_description import DescribeScene
from services.scene_files import BelowRoot, shown_as_named
from services.scene_replacement import LabelFate, check_replacement, replace_scene
from services.scene_request import ReplacementRequest, SceneRequest
from services.scene_summary import SceneSummary


class Outcome(BaseModel):
    """What was registered.

    Attributes:
        scene_id: The scene.
        job_id: The job that tiles it.
        labels_kept: Labels of the replaced scene that stand on.
        labels_superseded: Labels of the replaced scene that do not count any more.
        learnt_from: Versions that learnt from labels of the replaced scene.
    """

    model_config = ConfigDict(frozen=True)

    scene_id: int
    job_id: str
    labels_kept: int = 0
    labels_superseded: int = 0
    learnt_from: tuple[int, ...] = ()


def ask(catalog: Catalog, request: SceneRequest, replaces: int | None = None) -> tuple[RemoteSceneRequest, Job]:
    """Store a request for a job to carry out.

    Args:
        catalog: The catalog.
        request: The scene.
        replaces: Number of the scene to replace; None to register a new one.
    """
    with catalog.write() as session:
        stored = RemoteSceneRequest(
            request=request.model_dump(mode="json", by_alias=True, exclude_unset=True), replaces=replaces, job_id=""
        )
        session.add(stored)
        session.flush()
        job = jobs.enqueue(session, JobKind.DESCRIBE_SCENE, str(stored.id), scene_request_id=stored.id)
        session.flush()
        stored.job_id = job.id
    return stored, job


def is_dry_run(stored: RemoteSceneRequest) -> bool:
    """Return whether a scene is to be described only."""
    return bool(stored.request.get("dry_run", False))


def carry_out(catalog: Catalog, number: int, describe: DescribeScene = describe_contained) -> None:
    """Describe the scene of a request, and register it unless that was to be a dry run; note what came of it.

    Nothing happens if the request has ended.

    Args:
        catalog: The catalog.
        number: Number of the request.
        describe: Understands the files.

    Raises:
        IntegrityError: Another scene has just taken the name; the next try says so.
    """
    with catalog.read() as session:
        stored = scene_requests.find(session, number)
    if stored.ended_at is not None:
        return
    files = BelowRoot(catalog.settings.scene_root, catalog.settings.scene_hosts)
    try:
        with shown_as_named(files):
            if stored.replaces is None:
                _register(catalog, stored, files, describe)
            else:
                _replace(catalog, stored, stored.replaces, files, describe)
    except (SceneError, OutlineError, ConflictError, InvalidInputError, NotFoundError) as error:
        if was_lacking(error):
            raise
        with catalog.write() as session:
            scene_requests.refuse(session, number, str(error))


def _register(catalog: Catalog, stored: RemoteSceneRequest, files: BelowRoot, describe: DescribeScene) -> None:
    checked = check(catalog, SceneRequest.model_validate(stored.request), files, describe)
    with catalog.write() as session:
        waiting = scene_requests.waiting(session, stored.id)
        if waiting is None:
            return
        outcome = None
        if not is_dry_run(stored):
            scene, job = store_scene(session, catalog.settings, checked.scene, has_champion=checked.has_champion)
            session.flush()
            outcome = Outcome(scene_id=scene.id, job_id=job.id)
        _note(waiting, checked.summary, outcome)


def _replace(
    catalog: Catalog, stored: RemoteSceneRequest, old_id: int, files: BelowRoot, describe: DescribeScene
) -> None:
    request = ReplacementRequest.model_validate(stored.request)
    fate = LabelFate(request.labels) if request.labels else None
    checked = check_replacement(catalog, old_id, request, files, describe)
    with catalog.write() as session:
        waiting = scene_requests.waiting(session, stored.id)
        if waiting is None:
            return
        outcome = None
        if not is_dry_run(stored):
            done = replace_scene(
                session, catalog.settings, old_id, checked.new.scene, fate, has_champion=checked.has_champion
            )
            session.flush()
            outcome = Outcome(
                scene_id=done.scene.id,
                job_id=done.job.id,
                labels_kept=done.kept,
                labels_superseded=done.superseded,
                learnt_from=done.learnt_from,
            )
        _note(waiting, checked.new.summary, outcome)


def _note(stored: RemoteSceneRequest, summary: SceneSummary, outcome: Outcome | None) -> None:
    stored.summary = summary.model_dump(mode="json", by_alias=True)
    stored.outcome = outcome.model_dump(mode="json") if outcome else None
    stored.ended_at = now()
