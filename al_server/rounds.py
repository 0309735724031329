"""Rounds: open, abandon, list, describe."""

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag

import services.rounds
from al_server.accepted import accepted
from al_server.context import current_catalog, json_response
from al_server.job_schemas import serialize_job
from al_server.paging import cut_of, last_key, page_response
from al_server.round_schemas import RoundAccepted, RoundAnswer, RoundId, RoundRequest, serialize_round, serialize_rounds
from al_server.schemas import ListOf, LongNewestPage
from catalog import rounds
from catalog.jobs import enqueued

api = APIBlueprint("rounds", __name__, url_prefix="/api/v1/rounds", abp_tags=[Tag(name="rounds")])


@api.post("", responses={202: RoundAccepted})
def open_round(body: RoundRequest) -> Response:
    """Open a round; jobs choose its patches and publish them in Label Studio."""
    settings = current_catalog().settings
    with current_catalog().write() as session:
        opened = services.rounds.open_round(
            session,
            settings,
            body.strategy or settings.round_strategy,
            body.size or settings.round_size,
            body.seed,
            body.part or settings.round_part,
            body.second_looks,
        )
        answer = RoundAccepted(round=serialize_round(session, opened), job=serialize_job(enqueued(session)[0]))
    return accepted(answer, url_for("rounds.get_round", round_id=answer.round.id))


@api.post("/<int:round_id>/abandon", responses={200: RoundAnswer})
def abandon_round(path: RoundId) -> Response:
    """End a round early: patches that are not labelled yet may be proposed again, labels are kept."""
    with current_catalog().write() as session:
        abandoned = serialize_round(session, services.rounds.abandon(session, path.round_id))
    return json_response(abandoned)


@api.get("", responses={200: ListOf[RoundAnswer]})
def list_rounds(query: LongNewestPage) -> Response:
    """List the rounds, newest first.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = rounds.listed(session, cut_of(query))
        answers = serialize_rounds(session, found)
    return page_response(answers, query, last_key(found, query, lambda item: item.id))


@api.get("/<int:round_id>", responses={200: RoundAnswer})
def get_round(path: RoundId) -> Response:
    """Describe one round with its progress."""
    with current_catalog().read() as session:
        return json_response(serialize_round(session, rounds.get(session, path.round_id)))
