"""The labelled patches that a round may ask for again, to measure annotators or to mend labels."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Text, cast, func, or_, select
from sqlalchemy.orm import Session

from catalog import training
from catalog.candidates import usable_scenes
from catalog.records import (
    Label,
    Patch,
    PatchState,
    Proposal,
    ProposalReason,
    ProposalState,
    Scene,
)
from catalog.reference_records import Reference
from catalog.references import REFERENCE_PATCHES, TEACHES
from catalog.rounds import UNANSWERED

NOT_INDEPENDENT: Final = (ProposalReason.SECOND_LOOK, ProposalReason.CORRECTION)
"""What these labels are was decided by looking at a label or a map: they say nothing about how far people agree."""

OF_WHOLE_PATCH: Final[ColumnElement[bool]] = func.coalesce(cast(Proposal.region, Text), "null") == "null"
"""Condition on proposals: a column of JSON holds JSON's null where the worker stores None."""


def to_label_twice(session: Session) -> Sequence[int]:
    """Return the ids of the patches that nobody was asked to draw again, ascending: with a label to compare with.

    That is one of the whole patch that teaches, and was not drawn over another label or a map.
    """
    asked = select(Proposal.patch_id).where(
        Proposal.reason == ProposalReason.SECOND_LABEL,
        Proposal.state.in_((ProposalState.LABELLED, ProposalState.SKIPPED)),
    )
    statement = (
        select(Patch.id)
        .join(Label, Label.patch_id == Patch.id)
        .join(Proposal, Label.proposal_id == Proposal.id)
        .where(_ready_and_labelled(), Label.superseded_at.is_(None), OF_WHOLE_PATCH, TEACHES)
        .where(Proposal.reason.not_in(NOT_INDEPENDENT))
        .where(Patch.id.not_in(asked))
    )
    return session.scalars(statement.distinct().order_by(Patch.id)).all()


def to_ask_again(session: Session) -> dict[int, int]:
    """Return how many people have answered each honeypot that is free: those answered before, and the references.

    Only patches whose truth is known now: an accepted label may have been changed or released, and outlines removed.

    Returns:
        Number of standing labels drawn on the patch as a honeypot, by its id.
    """
    answers = (
        select(Label.patch_id, func.count().label("answers"))
        .join(Proposal, Label.proposal_id == Proposal.id)
        .where(Label.superseded_at.is_(None), Proposal.reason == ProposalReason.KNOWN_TRUTH)
        .group_by(Label.patch_id)
        .subquery()
    )
    is_outlined = Patch.scene_id.in_(scenes_with_truth(session)) & Patch.id.not_in(select(Reference.patch_id))
    statement = (
        select(Patch.id, func.coalesce(answers.c.answers, 0))
        .outerjoin(answers, answers.c.patch_id == Patch.id)
        .where(_ready_and_labelled(), or_(is_outlined & (answers.c.answers > 0), Patch.id.in_(REFERENCE_PATCHES)))
        .order_by(Patch.id)
    )
    return dict(session.execute(statement).all())


def to_look_at_again(session: Session) -> list[Label]:
    """Return the labels that teach of the patches that are free, with proposal, patch and scene loaded.

    Patches that had a second look are left out: two people have said what they see.
    """
    looked_at = (
        select(Label.patch_id)
        .join(Proposal, Label.proposal_id == Proposal.id)
        .where(Label.superseded_at.is_(None), Proposal.reason == ProposalReason.SECOND_LOOK)
    )
    free = set(session.scalars(select(Patch.id).where(_ready_and_labelled(), Patch.id.not_in(looked_at))))
    teaching = {label.id for label in training.training_labels(session) if label.patch_id in free}
    return training.load_labels(session, teaching)


def scenes_with_truth(session: Session) -> set[int]:
    """Return the ids of the scenes that were registered with outlines of the truth, and may be asked about."""
    pool = select(Scene).where(Scene.id.in_(usable_scenes()))
    return {scene.id for scene in session.scalars(pool) if scene.outlines}


def is_honeypot_waiting(session: Session) -> bool:
    """Return whether the task of a honeypot, of any scene, waits for its annotator."""
    waiting = (
        select(Proposal.id)
        .join(Patch, Proposal.patch_id == Patch.id)
        .where(Patch.state == PatchState.PROPOSED)  # an index leads to these few
        .where(Proposal.reason == ProposalReason.KNOWN_TRUTH, Proposal.state.in_(UNANSWERED))
    )
    return session.scalar(waiting.limit(1)) is not None


def _ready_and_labelled() -> ColumnElement[bool]:
    """Condition on patches: labelled, in a scene that may be asked about, and no task of theirs waits."""
    return Patch.scene_id.in_(usable_scenes()) & (Patch.state == PatchState.LABELLED)
