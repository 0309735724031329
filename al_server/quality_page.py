"""The page of the quality of labels, for operators: agreement, labels that count as the truth, and withdrawals."""

from typing import Final

from flask import Blueprint, Response

from al_server.context import current_catalog
from al_server.page_frame import live_mark, render_page
from al_server.paging import show_page
from catalog.withdrawals import annotators
from services import label_quality
from services.withdrawals import list_withdrawals

page = Blueprint("quality_page", __name__)
WITHDRAWALS_SHOWN: Final = 50


@page.get("/quality")
def show() -> Response:
    """Return the page; its script withdraws and releases labels by the API."""
    mark, catalog = live_mark(), current_catalog()
    with catalog.read() as session:
        withdrawn, pager = show_page(
            "withdrawals", WITHDRAWALS_SHOWN, lambda cut: list_withdrawals(session, cut), lambda item: item.id
        )
        names = annotators(session)
    return render_page(
        "quality.html",
        live=mark,
        quality=label_quality.assess(catalog),
        withdrawals=withdrawn,
        withdrawals_pager=pager,
        annotators=names,
    )
