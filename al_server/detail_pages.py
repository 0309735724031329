"""The pages of one version and of one round."""

import json
from typing import Any, Final

from flask import Blueprint, Response
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from al_server.auth import has_role
from al_server.context import current_catalog, current_parts
from al_server.decision_schemas import serialize_promotion
from al_server.page_frame import render_page
from al_server.round_schemas import serialize_round
from al_server.version_schemas import serialize_version
from catalog import rounds
from catalog.access_records import Role
from catalog.bundle_cache import CARD
from catalog.decision_records import Promotion
from catalog.records import Label, Patch, Proposal, TrainingRun
from catalog.registry import ModelVersion
from services.pseudonyms import pseudonym
from services.version_figures import figures_of

page = Blueprint("detail_pages", __name__)
PROPOSALS_SHOWN: Final = 500


@page.get("/versions/<int:version>")
def show_version(version: int) -> Response:
    """Return the page of a version: figures, evidence, confusion, calibration, labels, decisions."""
    catalog, models = current_catalog(), current_parts().models
    found = models.get(version)
    card = _card(found)
    with catalog.read() as session:
        run = session.scalar(select(TrainingRun).where(TrainingRun.model_version == version))
        learnt = (
            session.execute(
                select(Proposal.round_id, func.count())
                .join(Label, Label.proposal_id == Proposal.id)
                .where(Label.id.in_(run.label_ids[:10_000]))
                .group_by(Proposal.round_id)
                .order_by(Proposal.round_id)
            ).all()
            if run is not None
            else []
        )
        about = Promotion.model_version == version
        decided = session.scalars(select(Promotion).where(about).order_by(Promotion.id.desc()).limit(20))
        decisions = [serialize_promotion(decision) for decision in decided]
    mlflow = catalog.settings.mlflow_public_url or catalog.settings.mlflow_url
    return render_page(
        "version.html",
        version=serialize_version(found, models.aliases()),
        figures=figures_of(found),
        card=card,
        run=run,
        learnt=learnt,
        decisions=decisions,
        mlflow_version=f"{mlflow}/#/models/{catalog.settings.registered_model}/versions/{version}",
    )


def _card(version: ModelVersion) -> dict[str, Any] | None:
    """Return the card of a version as JSON; None if it is not in the local cache: a page does not wait for MLflow."""
    held = current_parts().bundles.held(version, CARD)
    if held is None:
        return None
    card: dict[str, Any] = json.loads(held.read_bytes())
    return card


@page.get("/rounds/<int:round_id>")
def show_round(round_id: int) -> Response:
    """Return the page of a round: its patches, why each was chosen, what became of it."""
    catalog = current_catalog()
    with catalog.read() as session:
        found = rounds.get(session, round_id)
        proposals = session.scalars(
            select(Proposal)
            .where(Proposal.round_id == round_id)
            .order_by(Proposal.rank)
            .limit(PROPOSALS_SHOWN)
            .options(joinedload(Proposal.patch).joinedload(Patch.scene))
        ).all()
        standing = select(Label).where(
            Label.proposal_id.in_([proposal.id for proposal in proposals]), Label.superseded_at.is_(None)
        )
        reads_accounts = has_role(Role.OPERATOR)
        labels = {
            label.proposal_id: (label, label.annotator if reads_accounts else pseudonym(catalog, label))
            for label in session.scalars(standing)
        }
        shown = serialize_round(session, found)
    return render_page(
        "round.html",
        round=shown,
        proposals=proposals,
        labels=labels,
        studio=catalog.settings.label_studio_public_url or catalog.settings.label_studio_url,
    )
