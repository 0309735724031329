"""Outlines for GLIMS and RGI, for operators: have them made as stated, list them, take them away, remove them."""

import json
import logging
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Final, TypeVar

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.models import RawModel
from pydantic import StringConstraints, TypeAdapter, ValidationError

from al_server.accepted import accepted_job
from al_server.auth import actor
from al_server.context import allow_large_body, current_catalog, current_parts, json_response
from al_server.glims_schemas import SubmissionAnswer, SubmissionId, serialize_submission
from al_server.job_schemas import JobAnswer, serialize_job
from al_server.kept_files import ZIP, MadePage, list_kept, remove_kept, send_kept
from al_server.problems import refuse_invalid
from al_server.requests import check_object
from al_server.schemas import ListOf, file_of
from al_server.sent_files import ending_of, read_sent
from catalog.errors import InvalidInputError
from imagery.errors import OutlineError
from imagery.glaciers import count_glaciers
from services import submissions
from services.places import SUBMISSIONS_ROUTE
from services.scenes import find_scene, source_of
from services.submissions import KnownSubmission, ReadInventory, SentInventory, SubmissionOptions

log = logging.getLogger(__name__)

api = APIBlueprint("submissions", __name__, url_prefix=SUBMISSIONS_ROUTE, abp_tags=[Tag(name="GLIMS")])

FORM: Final = "multipart/form-data"
_NAME: Final = TypeAdapter(Annotated[str, StringConstraints(max_length=250, pattern=r"^[^\x00-\x1f\x7f/\\]+$")])


Part = TypeVar("Part")


class SubmissionBody(RawModel):
    """`SubmissionOptions` as JSON, or a form with these as `options`, and an inventory as the file `inventory`."""

    mimetypes: list[str] = ["application/json", FORM]  # noqa: RUF012 - as the library does


@api.post("", responses={202: JobAnswer})
def make(raw: SubmissionBody) -> Any:
    """Have the outlines of a scene made for GLIMS, of the labels as they are when the job begins; 202 with the job.

    The body holds the options as JSON. With an inventory, it is a form: the options as `options`, and as the file
    `inventory` a GeoPackage, or a zip archive with one or with a shapefile. It is kept until they are made or removed.
    """
    inventory = None
    try:
        if request.mimetype == FORM:
            allow_large_body()
            text = _only("options", request.form.getlist("options"), {*request.form} - {"options"})
            if refused := check_object("options", text):
                return refused
            options = SubmissionOptions.model_validate(json.loads(text))
            inventory = _inventory(options)
        else:
            options = SubmissionOptions.model_validate(request.get_json())
    except ValidationError as error:
        return refuse_invalid(error)
    served, store = current_parts().served.current(), current_parts().store
    version = None if served is None else served.version
    asked = submissions.ask(current_catalog(), options, version, actor(), store, inventory)
    log.info("%s asked for the submission %s", actor(), asked.row.uid)
    return accepted_job(serialize_job(asked.job))


@api.get("", responses={200: ListOf[SubmissionAnswer]})
def list_submissions(query: MadePage) -> Response:
    """List the submissions, newest first, those that are being made and those that failed included.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    return list_kept(query, KnownSubmission, serialize_submission)


@api.get("/<uid>/file", responses=file_of(ZIP, "The outlines"))
def file(path: SubmissionId) -> Response:
    """Give a submission as a zip; 409 until it is made. Parts of it may be asked for (`Range`)."""
    return send_kept(KnownSubmission, path.uid)


@api.delete("/<uid>", responses={200: SubmissionAnswer})
def remove(path: SubmissionId) -> Response:
    """Remove a submission and its file; end its job if it is still being made."""
    removed = remove_kept(KnownSubmission, path.uid, serialize_submission)
    return json_response(removed.model_copy(update={"file": None}))


def _only(name: str, parts: Sequence[Part], others: Collection[str]) -> Part:
    """Return the one part of a form with a name; there may be no others of its kind."""
    if others:
        raise InvalidInputError(
            f"found the unknown part(s) {', '.join(sorted(others))}, expected options and the file inventory"
        )
    if len(parts) != 1:
        raise InvalidInputError(f"{name}: found {len(parts)} parts of this name, expected one")
    return parts[0]


def _inventory(options: SubmissionOptions) -> ReadInventory:
    """Return the inventory that was sent, which has glaciers on the scene.

    Raises:
        InvalidInputError: It is no such file; the message begins with ``inventory``.
        NotFoundError: There is no such scene.
        SceneError, ServiceUnavailable: As `read_sent`.
    """
    file = _only("inventory", request.files.getlist("inventory"), {*request.files} - {"inventory"})
    with current_catalog().read() as session:
        grid = source_of(find_scene(session, options.scene)).grid
    content = file.stream.read()
    try:
        name, ending = _NAME.validate_python(file.filename), ending_of(content)
        expected = "a plain GeoPackage of the glaciers near the scene"
        read_sent(content, ending, expected, count_glaciers, options.inventory_layer, grid, options.glacier_id)
    except (InvalidInputError, OutlineError) as error:
        raise InvalidInputError(f"inventory: {error}") from error
    except ValidationError as error:
        raise InvalidInputError(
            f"inventory: found the file name {str(file.filename)[:80]!r}, expected one without folders"
        ) from error
    return ReadInventory(SentInventory.model_validate({"name": name, "ending": ending}), content)
