"""Rounds: open, list, progress."""

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy import select

import services.rounds
from al_server.answers import job_answer, round_answer, round_answers
from al_server.context import answer, catalog
from al_server.schemas import RoundAccepted, RoundAnswer, RoundId, RoundList, RoundRequest
from catalog import rounds
from catalog.context import enqueued
from catalog.records import Round

api = APIBlueprint("rounds", __name__, url_prefix="/api/v1/rounds", abp_tags=[Tag(name="rounds")])


@api.post("", responses={202: RoundAccepted})
def open_round(body: RoundRequest) -> Response:
    """Choose the next proposals and publish them in Label Studio, by jobs."""
    settings = catalog().settings
    with catalog().write() as session:
        opened = services.rounds.open_round(
            session, settings, body.strategy or settings.round_strategy, body.size or settings.round_size, body.seed
        )
        accepted = RoundAccepted(round=round_answer(session, opened), job=job_answer(enqueued(session)[0]))
    response = answer(accepted, 202)
    response.headers["Location"] = url_for("rounds.get_round", round_id=accepted.round.id)
    return response


@api.post("/<int:round_id>/abandon", responses={200: RoundAnswer})
def abandon_round(path: RoundId) -> Response:
    """End a round early: its unanswered patches may be proposed again, what was drawn stays."""
    with catalog().write() as session:
        abandoned = round_answer(session, services.rounds.abandon(session, path.round_id))
    return answer(abandoned)


@api.get("", responses={200: RoundList})
def list_rounds() -> Response:
    """List all rounds, newest first."""
    with catalog().read() as session:
        return answer(round_answers(session, session.scalars(select(Round).order_by(Round.id.desc())).all()))


@api.get("/<int:round_id>", responses={200: RoundAnswer})
def get_round(path: RoundId) -> Response:
    """Describe one round and how far it is."""
    with catalog().read() as session:
        return answer(round_answer(session, rounds.get(session, path.round_id)))
