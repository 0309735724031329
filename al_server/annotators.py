"""Accounts in Label Studio for people who draw, made by administrators."""

import logging
from typing import Final

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field
from werkzeug.exceptions import ServiceUnavailable

from al_server.auth import actor
from al_server.context import current_catalog, json_response
from al_server.turns import ACCOUNTS
from catalog.errors import ConflictError
from labeling.accounts import invitation, sign_up
from labeling.errors import LabelStudioError
from services.passwords import LONGEST, SHORTEST
from services.request_types import Body

log = logging.getLogger(__name__)

api = APIBlueprint("annotators", __name__, url_prefix="/api/v1/annotators", abp_tags=[Tag(name="users and tokens")])

ANSWER_S: Final = 5.0
"""Longest wait for each of the three answers of Label Studio, in seconds."""


class AnnotatorRequest(Body):
    """A new account in Label Studio, which logs in by an e-mail address."""

    email: str = Field(pattern=r"^[^@\s]{1,64}@[^@\s]+\.[A-Za-z]{2,}$", max_length=254, examples=["anna@example.org"])
    password: str = Field(min_length=SHORTEST, max_length=LONGEST)


class AnnotatorAnswer(BaseModel):
    """The account, and where its owner logs in."""

    email: str
    address: str


@api.post("", responses={201: AnnotatorAnswer})
def add_annotator(body: AnnotatorRequest) -> Response:
    """Give a person an account in Label Studio, through the invitation of our organization there."""
    settings, email = current_catalog().settings, body.email.lower()  # as Label Studio stores it
    url = settings.label_studio_url
    with ACCOUNTS.required("accounts in Label Studio"):
        try:
            invited = invitation(url, current_catalog().secrets.label_studio_token, ANSWER_S)
            sign_up(url, invited, email, body.password, ANSWER_S)
        except LabelStudioError as error:
            if error.status is None or error.status >= 500:
                raise ServiceUnavailable(str(error)) from error
            raise ConflictError(str(error)) from error
    log.info("%s added the account %s in Label Studio", actor(), email)
    return json_response(AnnotatorAnswer(email=email, address=settings.label_studio_page), 201)
