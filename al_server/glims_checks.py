"""The check of a GLIMS submission of any program: a zip of shapefiles is sent, and what was found comes back."""

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.models import RawModel

from al_server.context import allow_large_body, json_response
from al_server.glims_schemas import CheckAnswer, serialize_check
from al_server.sent_files import read_sent
from catalog.errors import InvalidInputError
from imagery.glims_archives import check_archive
from services.places import GLIMS_CHECKS_ROUTE

api = APIBlueprint("glims_checks", __name__, url_prefix=GLIMS_CHECKS_ROUTE, abp_tags=[Tag(name="GLIMS")])


class SubmissionBody(RawModel):
    """A zip archive of shapefiles."""

    mimetypes: list[str] = ["application/zip"]  # noqa: RUF012 - as the library does


@api.post("", responses={200: CheckAnswer})
def check(raw: SubmissionBody) -> Response:
    """Check whether zipped shapefiles, of any program, keep GLIMS's published requirements.

    Files besides the layers `glaciers`, `images`, `session`, `debris`, `lakes` and `rgi` are not looked at.
    """
    allow_large_body()
    content = request.get_data(cache=False)
    if not content.startswith(b"PK"):
        raise InvalidInputError("found a file that is no zip archive; expected one with shapefiles for GLIMS")
    found = read_sent(content, ".zip", "a submission with fewer outlines: check its parts one by one", check_archive)
    return json_response(serialize_check(found))
