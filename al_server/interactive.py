"""The interactive backend that Label Studio asks when an annotator clicks to mend a proposal.

Label Studio names the paths. It shows annotators no error of ours, so each is logged.
"""

import hmac
import logging
from typing import Any, Final

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel

from al_server.context import allow_large_body, current_catalog, current_parts, json_response
from al_server.problems import problem
from catalog.errors import ConflictError, NotFoundError
from labeling.errors import EventError, RegionError
from labeling.interactive import USER, parse_request
from services.mending import suggest
from services.places import INTERACTIVE_ROUTE

log = logging.getLogger(__name__)

MODEL: Final = "clicks"
"""The "model version" of the suggestions."""

api = APIBlueprint("interactive", __name__, url_prefix=INTERACTIVE_ROUTE, abp_tags=[Tag(name="clicks")])


class BackendStatus(BaseModel):
    """Whether the interactive backend is up."""

    status: str


class BackendSetup(BaseModel):
    """The model of the interactive backend."""

    model_version: str


class Suggestions(BaseModel):
    """What the interactive backend suggests: one item with Label Studio's regions, or none."""

    results: list[dict[str, Any]]


@api.before_request
def check_password() -> Response | None:
    """Refuse a call without the password that Label Studio was given, before its body is read."""
    catalog = current_catalog()
    given = request.authorization
    user, password = (given.username, given.password) if given is not None and given.type == "basic" else (None, None)
    expected = f"{USER}:{catalog.secrets.interactive_password}"
    if not hmac.compare_digest(f"{user}:{password}".encode(), expected.encode()):
        refused = problem(401, "found no or another user and password than this server gave Label Studio")
        refused.headers["WWW-Authenticate"] = 'Basic realm="glacier-al: clicks, for Label Studio alone"'
        return refused
    if not catalog.settings.interactive_clicks:
        return problem(409, "clicks are switched off; expected the setting interactive_clicks = true")
    allow_large_body()
    return None


@api.get("/health", responses={200: BackendStatus})
def health() -> Response:
    """Tell Label Studio that this backend is up."""
    return json_response(BackendStatus(status="UP"))


@api.post("/setup", responses={200: BackendSetup})
def setup() -> Response:
    """Tell Label Studio the name of the model; the user's token in its request is neither kept nor logged."""
    return json_response(BackendSetup(model_version=MODEL))


@api.post("/predict", responses={200: Suggestions})
def predict() -> Response:
    """Return the mended proposal of a task as regions; nothing if no annotator clicked."""
    try:
        asked = parse_request(request.get_data(cache=False))
        if not asked.regions:
            return json_response(Suggestions(results=[]))
        regions = suggest(current_catalog(), current_parts().store, asked)
    except (EventError, RegionError) as error:
        log.warning("clicks cannot be read: %s", error)
        return problem(422, str(error))
    except (NotFoundError, ConflictError) as error:
        log.warning("clicks are not answered: %s", error)
        raise
    return json_response(Suggestions(results=[{"model_version": MODEL, "score": 1.0, "result": regions}]))
