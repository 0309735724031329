"""The quality of labels, for operators: how far annotators agree with known truth, each other, and proposals.

`services.compared_labels` says which labels are compared with what, and has a job do it once; what is told is made of
the counts.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog.context import Catalog
from catalog.records import Label, Proposal, ProposalReason, SceneState
from services import mask_comparisons
from services.class_scheme import scheme_in_force
from services.compared_labels import (
    PEOPLE,
    compared_labels,
    compared_patches,
    current_references,
    is_standing,
    person,
)
from services.label_agreement import AutomationBias, Comparison, compare, measure_bias
from services.mask_comparisons import Compared
from services.mask_counts import Counts


@dataclass(frozen=True)
class AnnotatorQuality:
    """What is known of the labels of one annotator.

    Attributes:
        annotator: Address of the account.
        simulated: Whether it is the simulated annotator.
        truth: Its labels with known truth; None without any.
        others: Its labels with those of other people; None without any.
    """

    annotator: str
    simulated: bool
    truth: Comparison | None
    others: Comparison | None


@dataclass(frozen=True)
class ReferencePatch:
    """A patch whose label an operator accepted as the truth.

    Attributes:
        patch_id: The patch.
        label_id: The accepted label.
        annotator: Who drew it.
        answers: Number of labels by other people that are compared with it.
        stands: Whether the label still stands; nothing is compared with one that was changed, deleted or withdrawn.
        is_removed: Whether the scene of the patch was removed, and with it the page of the patch.
    """

    patch_id: int
    label_id: int
    annotator: str
    answers: int
    stands: bool
    is_removed: bool


@dataclass(frozen=True)
class Quality:
    """The quality of the standing labels.

    Attributes:
        classes: Names of the classes, background first.
        annotators: Those of whom anything is known, by address.
        bias: Labels from pre-annotations against blind ones; None without any.
        same_person: Number of second labels that the person who drew the first drew as well: they do not count.
        references: The reference patches, by id.
        pending: Number of comparisons that are not made yet, or cannot be because a mask is missing or damaged; what
            they are of is left out of all figures.
    """

    classes: tuple[str, ...]
    annotators: tuple[AnnotatorQuality, ...]
    bias: AutomationBias | None
    same_person: int
    references: tuple[ReferencePatch, ...]
    pending: int


def assess(catalog: Catalog) -> Quality:
    """Assess the standing labels by the comparisons that are kept; no mask is read."""
    with catalog.read() as session:
        scheme = scheme_in_force(session, catalog.settings)
        references = current_references(session)
        labels = compared_labels(session)
        same_person = _count_same_person(session)
        kept = mask_comparisons.kept(session)
    patches = compared_patches(labels, references)
    truth: dict[str, list[Counts]] = defaultdict(list)
    others: dict[str, list[Counts]] = defaultdict(list)
    triples: list[Counts] = []
    answers: dict[int, int] = defaultdict(int)
    for patch in patches:
        answers[patch.patch_id] += len(patch.truth)
        for name, with_truth in patch.truth.items():
            truth[name] += _sum(kept, [with_truth])
        for name, with_others in patch.others.items():
            others[name] += _sum(kept, with_others)
        if patch.triple is not None:
            triples += _sum(kept, [patch.triple])
    simulated = {person(label): label.simulated for label in labels}
    return Quality(
        classes=tuple(scheme.names),
        annotators=tuple(
            AnnotatorQuality(name, simulated[name], compare(truth[name]), compare(others[name]))
            for name in sorted({*truth, *others})
            if truth[name] or others[name]
        ),
        bias=measure_bias(triples),
        same_person=same_person,
        references=tuple(
            ReferencePatch(
                patch_id=patch_id,
                label_id=item.label_id,
                annotator=item.label.annotator,
                answers=answers[patch_id],
                stands=is_standing(item),
                is_removed=item.label.patch.scene.state is SceneState.REMOVED,
            )
            for patch_id, item in sorted(references.items())
        ),
        pending=len({item.names for patch in patches for item in patch.compared} - kept.keys()),
    )


def _sum(kept: Mapping[tuple[str, str, str], Counts], compared: Sequence[Compared]) -> list[Counts]:
    """Return the sum of these comparisons; nothing if one is not kept."""
    if any(item.names not in kept for item in compared):
        return []
    return [np.sum([kept[item.names] for item in compared], axis=0)]


def _count_same_person(session: Session) -> int:
    """Count the patches with a standing second label that nobody but its annotator has labelled."""
    repeated = select(Label.patch_id).join(Proposal, Label.proposal_id == Proposal.id)
    repeated = repeated.where(Label.superseded_at.is_(None), Proposal.reason == ProposalReason.SECOND_LABEL)
    alone = (
        select(Label.patch_id)
        .where(Label.superseded_at.is_(None), Label.patch_id.in_(repeated))
        .group_by(Label.patch_id)
        .having(PEOPLE == 1, func.count() > 1)
    )
    return len(session.scalars(alone).all())
