"""Users, for administrators: list, add, change."""

import logging

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.access_schemas import AccessName, NamePage, UserAnswer, UserChange, UserRequest, serialize_user
from al_server.auth import actor, known_tokens
from al_server.context import current_catalog, json_response
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import ListOf
from catalog.access_records import Role
from services import users

log = logging.getLogger(__name__)

api = APIBlueprint("users", __name__, url_prefix="/api/v1/users", abp_tags=[Tag(name="users and tokens")])


@api.get("", responses={200: ListOf[UserAnswer]})
def list_users(query: NamePage) -> Response:
    """List users by name, the disabled ones included.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = users.listed(session, cut_of(query))
        answers = [serialize_user(user) for user in found]
    return page_response(answers, query, last_key(found, query, lambda user: user.name))


@api.post("", responses={201: UserAnswer})
def add_user(body: UserRequest) -> Response:
    """Add a user."""
    with current_catalog().write() as session:
        added = serialize_user(users.add(session, body.name, Role.titled(body.role), body.password))
    log.info("%s added the user %s, %s", actor(), body.name, body.role)
    return json_response(added, 201)


@api.patch("/<name>", responses={200: UserAnswer})
def change_user(path: AccessName, body: UserChange) -> Response:
    """Change role or password of a user, or disable the user: log-ins end at once, and tokens within 5 s."""
    with current_catalog().write() as session:
        user = users.find(session, path.name)
        if body.role is not None:
            users.set_role(session, path.name, Role.titled(body.role))
        if body.password is not None:
            users.set_password(session, path.name, body.password)
        if body.disabled is not None:
            (users.disable if body.disabled else users.enable)(session, path.name)
        changed = serialize_user(user)
    known_tokens().forget_all()
    log.info("%s changed %s of the user %s", actor(), ", ".join(sorted(body.model_fields_set)), path.name)
    return json_response(changed)
