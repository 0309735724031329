"""Which labels are compared with what, to tell their quality (`services.label_quality`).

What is compared, patch by patch, on labels of whole patches that stand:

- With known truth: what an annotator drew on honeypots, among them patches of which somebody else's label was accepted
  as reference. Labels drawn for another reason are not compared with an accepted one: of two that differed, the
  operator who accepted the better would have judged the other.
- With others: any two labels of a patch by different people. Two by the same person do not count, as Label Studio's
  community edition cannot keep a task from the person who drew the first.
- With proposals: such pairs of which one label started from a pre-annotation and the other from an empty mask.

Answers to second looks are left out, because they were asked for where a label was doubted.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, permutations

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, joinedload

from catalog.check_candidates import NOT_INDEPENDENT, OF_WHOLE_PATCH
from catalog.context import Catalog
from catalog.labels import NEWEST_FIRST
from catalog.records import Label, Patch, Proposal, ProposalReason
from catalog.reference_records import Reference
from services import mask_comparisons
from services.mask_comparisons import Compared, MaskFile

PEOPLE = func.count(func.distinct(func.lower(Label.annotator)))
"""Number of different people with a label, of each group of a query."""


@dataclass(frozen=True)
class ComparedPatch:
    """What is compared on a patch.

    Attributes:
        patch_id: The patch.
        truth: By person, the label with the known truth.
        others: By person, the label with each of the others.
        triple: The newest pair of labels with and without pre-annotation; None without one.
    """

    patch_id: int
    truth: Mapping[str, Compared]
    others: Mapping[str, Sequence[Compared]]
    triple: Compared | None

    @property
    def compared(self) -> Iterator[Compared]:
        """All that is compared."""
        yield from self.truth.values()
        yield from chain.from_iterable(self.others.values())
        if self.triple is not None:
            yield self.triple


def compare_labels(catalog: Catalog) -> int:
    """Compare the masks of the standing labels, as far as that was not done yet: some milliseconds each.

    Returns:
        Number of comparisons that are left out, because a mask is missing or damaged.
    """
    with catalog.read() as session:
        patches = compared_patches(compared_labels(session), current_references(session))
    return mask_comparisons.keep_only(catalog, (item for patch in patches for item in patch.compared))


def person(label: Label) -> str:
    """Return who drew a label: addresses are compared without their case, as Label Studio does."""
    return label.annotator.lower()


def compared_patches(labels: Iterable[Label], references: Mapping[int, Reference]) -> list[ComparedPatch]:
    """Return what is compared on each patch of these labels."""
    found = []
    for patch_id, of_patch in _by_patch(labels).items():
        known = {person(label): _known_truth(label, references.get(patch_id)) for label in of_patch}
        masks = {person(label): MaskFile.of_label(label) for label in of_patch}
        truth = {name: Compared(mask, masks[name]) for name, mask in known.items() if mask is not None}
        others: dict[str, list[Compared]] = defaultdict(list)
        for own, other in permutations(masks, 2):
            others[own].append(Compared(masks[other], masks[own]))
        found.append(ComparedPatch(patch_id, truth, others, _triple(of_patch)))
    return found


def _known_truth(label: Label, reference: Reference | None) -> MaskFile | None:
    """Return the true mask that a label is compared with; None if there is none, or the same person drew it.

    Args:
        label: With its patch, scene and proposal.
        reference: The reference of its patch, if there is one; the outlines of the scene then do not count.
    """
    if label.proposal.reason is not ProposalReason.KNOWN_TRUTH:
        return None
    if reference is not None:
        is_other = is_standing(reference) and person(label) != person(reference.label)
        return MaskFile.of_label(reference.label) if is_other else None
    return MaskFile.of_truth(label.patch) if label.patch.scene.outlines else None


def _triple(labels: Sequence[Label]) -> Compared | None:
    """Return the newest pair of labels of a patch with and without pre-annotation, if there is one."""
    for own, other in permutations(labels, 2):
        drawn_by = own.proposal.preannotated_by
        if drawn_by is not None and other.proposal.preannotated_by is None:
            shown = MaskFile.of_preannotation(own.proposal, drawn_by)
            return Compared(MaskFile.of_label(other), MaskFile.of_label(own), shown)
    return None


def current_references(session: Session) -> dict[int, Reference]:
    """Return the references, by their patches, with labels, patches and scenes loaded."""
    loaded = joinedload(Reference.label).joinedload(Label.patch).joinedload(Patch.scene)
    found = session.scalars(select(Reference).options(loaded))
    return {item.patch_id: item for item in found}


def is_standing(reference: Reference) -> bool:
    """Return whether the accepted label still stands; nothing is compared with one that was superseded."""
    return reference.label.superseded_at is None


def compared_labels(session: Session) -> list[Label]:
    """Return the standing labels of whole patches that have something to be compared with, newest first."""
    several = select(Label.patch_id).where(Label.superseded_at.is_(None)).group_by(Label.patch_id).having(PEOPLE > 1)
    comparable = or_(Proposal.reason == ProposalReason.KNOWN_TRUTH, Label.patch_id.in_(several))
    statement = (
        select(Label)
        .join(Proposal, Label.proposal_id == Proposal.id)
        .where(Label.superseded_at.is_(None), OF_WHOLE_PATCH, comparable)
        .where(Proposal.reason.not_in(NOT_INDEPENDENT))
        .options(joinedload(Label.proposal), joinedload(Label.patch).joinedload(Patch.scene))
        .order_by(NEWEST_FIRST)
    )
    return list(session.scalars(statement))


def _by_patch(labels: Iterable[Label]) -> dict[int, list[Label]]:
    """Return the labels of each patch, of each person only the first of the given order."""
    found: dict[int, dict[str, Label]] = defaultdict(dict)
    for label in labels:
        found[label.patch_id].setdefault(person(label), label)
    return {patch_id: list(of_patch.values()) for patch_id, of_patch in found.items()}
