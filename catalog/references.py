"""Which labels teach, and which patches are references with a known truth.

What is drawn on a honeypot is measured against the truth and never learnt from, and neither is anything that was drawn
on a reference patch: a network that has seen the truth would draw it into the pre-annotation. Where the accepted
label was changed, deleted or withdrawn, the others teach again, and the patch may be proposed as any other. Nothing
is learnt on a scene that was removed.
"""

from typing import Final

from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.orm import Session, aliased

from catalog.errors import ConflictError, NotFoundError
from catalog.records import Label, Patch, Proposal, ProposalReason, Scene, SceneState
from catalog.reference_records import Reference

_ACCEPTED: Final = aliased(Label)
REFERENCE_PATCHES: Final[Select[int]] = (
    select(Reference.patch_id)
    .join(_ACCEPTED, Reference.label_id == _ACCEPTED.id)
    .where(_ACCEPTED.superseded_at.is_(None))
)
"""Query of the ids of the patches whose accepted label stands."""
_REMOVED_PATCHES: Final[Select[int]] = (
    select(Patch.id)
    .join(Scene, Patch.scene_id == Scene.id)
    .where(Scene.state == SceneState.REMOVED)
    .correlate(None)  # it is about all patches, whatever the query around it joins
)
TEACHES: Final[ColumnElement[bool]] = and_(
    Proposal.reason != ProposalReason.KNOWN_TRUTH,
    Label.patch_id.not_in(REFERENCE_PATCHES),
    Label.patch_id.not_in(_REMOVED_PATCHES),
)
"""Condition on labels joined with their proposals."""


def accept(session: Session, label_id: int) -> Reference:
    """Make a label the known truth of its patch, which becomes a honeypot for other annotators.

    Raises:
        NotFoundError: there is no such label.
        ConflictError: it is superseded, of a part of the patch only, drawn on a honeypot or on a removed scene, or
            another label of the patch was accepted.
    """
    label = session.get(Label, label_id)
    if label is None:
        raise NotFoundError(f"there is no label {label_id}")
    if label.superseded_at is not None:
        raise ConflictError(f"label {label_id} was superseded; accept one that stands")
    if label.proposal.region is not None:
        raise ConflictError(f"label {label_id} judges a part of its patch only; accept one of a whole patch")
    if label.proposal.reason is ProposalReason.KNOWN_TRUTH:
        raise ConflictError(f"label {label_id} was drawn where the truth is known already; accept another")
    patch = session.get_one(Patch, label.patch_id)
    if session.get_one(Scene, patch.scene_id).state is not SceneState.READY:
        raise ConflictError(f"the scene of label {label_id} is not ready; accept a label of a ready scene")
    found = session.get(Reference, patch.id)
    if found is not None and found.label.superseded_at is not None:  # changed, deleted or withdrawn since
        session.delete(found)
        session.flush()
        found = None
    if found is not None and found.label_id != label_id:
        raise ConflictError(f"label {found.label_id} is the reference of patch {patch.id} already; release it first")
    if found is None:
        session.add(found := Reference(patch_id=patch.id, label_id=label_id))
        session.flush()
    return found


def release(session: Session, label_id: int) -> int:
    """End the use of a label as reference: the labels of its patch teach again, but for those drawn on honeypots.

    Returns:
        The id of the patch.

    Raises:
        NotFoundError: the label is no reference.
    """
    found = session.scalar(select(Reference).where(Reference.label_id == label_id))
    if found is None:
        raise NotFoundError(f"label {label_id} is no reference; `glacier-al quality` lists the references")
    session.delete(found)
    session.flush()
    return found.patch_id
