"""Changes between two scenes of one ground: ask for one, and take its files."""

from collections.abc import Sequence

from flask import Response, abort, url_for
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy.orm import Session

from al_server.accepted import being_made
from al_server.blindness import may_see_truth
from al_server.change_schemas import ChangeAnswer, ChangeFile, ChangeId, ChangeRequest, ChangesBefore
from al_server.context import current_catalog, current_parts, json_response
from al_server.job_schemas import serialize_job
from al_server.paging import cut_of, last_key, page_response
from al_server.predictions import refused_when_full
from al_server.schemas import ListOf
from al_server.version_choice import chosen_version
from catalog.errors import ConflictError, NotFoundError
from catalog.records import Job, JobState, Scene
from imagery.errors import StoreError
from services import scene_changes
from services.change_maps import Subject
from services.scene_changes import SceneChange
from services.scenes import find_scene
from services.unused_predictions import note_use

api = APIBlueprint("changes", __name__, url_prefix="/api/v1/changes", abp_tags=[Tag(name="changes")])

_MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "gpkg": "application/geopackage+sqlite3",
    "png": "image/png",
    "json": "application/json",
}


@api.post("", responses={202: ChangeAnswer})
def ask(body: ChangeRequest) -> Response:
    """Have two scenes compared, which are predicted first where they are not. 202; ask again for its files.

    Who asks for the same again gets the change that is being made, or was made and not removed, unless a scene or a
    setting that it depends on was changed since.
    """
    version = chosen_version(body.version).version if body.of is Subject.PREDICTION else None
    with current_catalog().read() as session:
        earlier, later = find_scene(session, body.earlier), find_scene(session, body.later)
        is_secret = body.of is Subject.OUTLINES and not _sees_truth(session, earlier, later)
    if is_secret:
        abort(403, "the outlines of the pool measure annotators at present, so that only operators may compare them")
    with refused_when_full():
        asked = scene_changes.ask(current_catalog(), earlier, later, body.of, version)
    return being_made(describe_change(asked), url_for("changes.describe", uid=asked.uid))


@api.get("", responses={200: ListOf[ChangeAnswer]})
def list_changes(query: ChangesBefore) -> Response:
    """List the changes, those that were asked for last first; which files there are is told of each by itself.

    Changes of scenes that are gone, or that the caller may not see, are left out, so that a page may hold fewer than
    ``limit``. If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = scene_changes.listed_jobs(session, cut_of(query))
        changes = seen_changes(session, found)
    answers = [describe_change(change) for change in changes]
    return page_response(answers, query, last_key(found, query, lambda job: job.id))


@api.get("/<uid>", responses={200: ChangeAnswer})
def describe(path: ChangeId) -> Response:
    """Describe a change: its job with progress and error and, once it is done, its files."""
    return json_response(describe_with_files(find_change(path.uid)))


@api.get("/<uid>/<suffix>", responses={200: {"description": "The file", "content": {"*/*": {}}}})
def file(path: ChangeFile) -> Response:
    """Give a file of a change: the table, the polygons, the picture, or the summary with the method."""
    found = find_change(path.uid)
    if found.job.state is not JobState.FINISHED:
        raise ConflictError(f"the change is {found.job.state.value}; {found.job.error or 'ask again later'}")
    response = Response(read_file(found, path.suffix), content_type=_MEDIA_TYPES[path.suffix])
    name = f"change-{found.earlier.name}-{found.later.name}.{path.suffix}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def find_change(uid: str) -> SceneChange:
    """Return a change that the caller may see.

    Raises:
        NotFoundError: There is none with this id.
    """
    with current_catalog().read() as session:
        found = scene_changes.find(session, uid)
        if not _is_seen(session, found):
            raise NotFoundError(f"there is no change {uid!r}; it may have been removed")
    return found


def seen_changes(session: Session, of_jobs: Sequence[Job]) -> list[SceneChange]:
    """Return the changes that jobs make, as far as the caller may see them."""
    return [change for change in scene_changes.of_jobs(session, of_jobs) if _is_seen(session, change)]


def read_file(change: SceneChange, suffix: str) -> bytes:
    """Return a file of a change that is done.

    Raises:
        NotFoundError: It has no such file, or not any more.
    """
    key = change.keys[suffix]
    note_use(current_catalog(), key)
    try:
        return current_parts().store.get(key)
    except StoreError as error:
        raise NotFoundError(
            f"there is no such file: nothing changed, or nobody used it for a while ({error}); ask for the change anew"
        ) from error


def describe_with_files(change: SceneChange) -> ChangeAnswer:
    """Describe a change with the addresses of the files that there are; the store is asked for each."""
    store, is_done = current_parts().store, change.job.state is JobState.FINISHED
    present = [suffix for suffix, key in change.keys.items() if is_done and store.exists(key)]
    files = {suffix: url_for("changes.file", uid=change.uid, suffix=suffix) for suffix in present}
    return describe_change(change).model_copy(update={"files": files})


def describe_change(change: SceneChange) -> ChangeAnswer:
    """Describe a change without looking for its files."""
    return ChangeAnswer(
        id=change.uid,
        earlier=change.earlier.id,
        later=change.later.id,
        of=change.subject,
        version=change.version,
        job=serialize_job(change.job),
        files={},
    )


def _is_seen(session: Session, change: SceneChange) -> bool:
    """Return whether the caller may see a change: outlines by which annotators are measured are for operators."""
    return change.subject is not Subject.OUTLINES or _sees_truth(session, change.earlier, change.later)


def _sees_truth(session: Session, *scenes: Scene) -> bool:
    return all(may_see_truth(session, scene) for scene in scenes)
