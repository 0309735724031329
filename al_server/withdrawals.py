"""Withdrawals: take back the labels of an annotator, and list what was taken back. For operators."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.auth import actor
from al_server.context import current_catalog, json_response
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import ListOf, LongNewestPage
from services.withdrawals import WithdrawalAnswer, WithdrawalEffect, WithdrawalRequest, list_withdrawals, withdraw

api = APIBlueprint("withdrawals", __name__, url_prefix="/api/v1/withdrawals", abp_tags=[Tag(name="withdrawals")])


@api.post("", responses={200: WithdrawalEffect})
def create(body: WithdrawalRequest) -> Response:
    """Withdraw the labels of an annotator; with `dry_run`, tell what that would do."""
    return json_response(withdraw(current_catalog(), body, actor()))


@api.get("", responses={200: ListOf[WithdrawalAnswer]})
def list_all(query: LongNewestPage) -> Response:
    """List the withdrawals with the versions that they affect, newest first.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = list_withdrawals(session, cut_of(query))
    return page_response(found, query, last_key(found, query, lambda item: item.id))
