"""Tokens of programs, for administrators: list, add, rotate, revoke."""

import logging
from datetime import timedelta

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.access_schemas import (
    AccessName,
    NamePage,
    NewToken,
    RotateRequest,
    TokenAnswer,
    TokenRequest,
    serialize_token,
)
from al_server.auth import actor, known_tokens
from al_server.context import current_catalog, json_response, secret_response
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import ListOf
from catalog.access_records import AccessToken, Role
from catalog.records import now
from services import tokens

log = logging.getLogger(__name__)

api = APIBlueprint("tokens", __name__, url_prefix="/api/v1/tokens", abp_tags=[Tag(name="users and tokens")])


@api.get("", responses={200: ListOf[TokenAnswer]})
def list_tokens(query: NamePage) -> Response:
    """List tokens by name, without their values, the revoked ones included.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = tokens.listed(session, cut_of(query))
        answers = [serialize_token(row) for row in found]
    return page_response(answers, query, last_key(found, query, lambda row: row.name))


@api.post("", responses={201: NewToken})
def add_token(body: TokenRequest) -> Response:
    """Add a token; its value is in this response and nowhere else."""
    days = body.expires_in_days
    expires_at = now() + timedelta(days=days) if days is not None else None
    with current_catalog().write() as session:
        row, token = tokens.add(session, body.name, Role.titled(body.role), user=body.user, expires_at=expires_at)
        added = _with_value(row, token)
    log.info("%s added the token %s, %s", actor(), body.name, body.role)
    return secret_response(added, 201)


@api.post("/<name>/rotate", responses={200: NewToken})
def rotate_token(path: AccessName, body: RotateRequest) -> Response:
    """Replace the value of a token; the old one may stay good for some hours."""
    with current_catalog().write() as session:
        row, token = tokens.rotate(session, path.name, timedelta(hours=body.overlap_hours))
        rotated = _with_value(row, token)
    known_tokens().forget_all()
    log.info("%s rotated the token %s", actor(), path.name)
    return secret_response(rotated)


@api.delete("/<name>", responses={200: TokenAnswer})
def revoke_token(path: AccessName) -> Response:
    """Refuse a token from now on; its row stays, because decisions may name it."""
    with current_catalog().write() as session:
        revoked = serialize_token(tokens.revoke(session, path.name))
    known_tokens().forget_all()
    log.info("%s revoked the token %s", actor(), path.name)
    return json_response(revoked)


def _with_value(row: AccessToken, token: str) -> NewToken:
    return NewToken(**serialize_token(row).model_dump(), token=token)
