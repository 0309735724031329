"""The quality of labels, for operators: how far annotators agree with known truth, with each other, and with proposals.

What is compared, patch by patch, on labels of whole patches that stand:

- With known truth: what an annotator drew on honeypots, and on patches of which somebody else's label was accepted as
  reference.
- With others: any two labels of a patch by different people. Two by the same person do not count, as Label Studio's
  community edition cannot keep a task from the person who drew the first.
- With proposals: such pairs of which one label started from a pre-annotation and the other from an empty mask.

Answers to second looks are left out, because they were asked for where a label was doubted.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, joinedload

from catalog.check_candidates import OF_WHOLE_PATCH
from catalog.context import Catalog
from catalog.labels import NEWEST_FIRST
from catalog.records import Label, Proposal, ProposalReason
from catalog.reference_records import Reference
from imagery.classes import ClassScheme
from imagery.maps import read_map
from imagery.masks import mask_from_geotiff
from imagery.store import RasterStore
from services import raster_keys
from services.class_scheme import scheme_in_force
from services.label_agreement import AutomationBias, Comparison, Triple, compare, count, measure_bias
from services.places import raster_store
from services.scenes import window_of

Counts = NDArray[np.int64]

_PEOPLE = func.count(func.distinct(func.lower(Label.annotator)))


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
    """

    patch_id: int
    label_id: int
    annotator: str
    answers: int
    stands: bool


@dataclass(frozen=True)
class Quality:
    """The quality of the standing labels.

    Attributes:
        classes: Names of the classes, background first.
        annotators: Those of whom anything is known, by address.
        bias: Labels from pre-annotations against blind ones; None without any.
        same_person: Number of second labels that the person who drew the first drew as well: they do not count.
        references: The reference patches, by id.
    """

    classes: tuple[str, ...]
    annotators: tuple[AnnotatorQuality, ...]
    bias: AutomationBias | None
    same_person: int
    references: tuple[ReferencePatch, ...]


def assess(catalog: Catalog) -> Quality:
    """Assess the standing labels. Reads the masks of all labels that are compared, some milliseconds each.

    Raises:
        StoreError: a mask is not in the store.
        SceneError: a mask cannot be read.
    """
    with catalog.read() as session:
        scheme = scheme_in_force(session, catalog.settings)
        references = {item.patch_id: item for item in _references(session)}
        labels = _compared_labels(session)
        same_person = _count_same_person(session)
    masks = _Masks(raster_store(catalog), scheme)
    truth: dict[str, list[Counts]] = defaultdict(list)
    others: dict[str, list[Counts]] = defaultdict(list)
    triples: list[Triple] = []
    answers: dict[int, int] = defaultdict(int)
    for patch_id, of_patch in _by_patch(labels).items():
        reference = references.get(patch_id)
        for label in of_patch:
            known = masks.known_truth(label, reference)
            if known is not None:
                truth[person(label)].append(masks.count(known, label))
                answers[patch_id] += 1
        compared: dict[str, Counts] = {}
        for own, other in permutations(of_patch, 2):
            counts = masks.count(masks.of(other), own)
            compared[person(own)] = compared[person(own)] + counts if person(own) in compared else counts
        for name, counts in compared.items():
            others[name].append(counts)
        triples += masks.triple(of_patch)
    simulated = {person(label): label.simulated for label in labels}
    return Quality(
        classes=tuple(scheme.names),
        annotators=tuple(
            AnnotatorQuality(name, simulated[name], compare(truth[name]), compare(others[name]))
            for name in sorted({*truth, *others})
        ),
        bias=measure_bias(triples, len(scheme.classes)),
        same_person=same_person,
        references=tuple(
            ReferencePatch(patch_id, item.label_id, item.label.annotator, answers[patch_id], _stands(item))
            for patch_id, item in sorted(references.items())
        ),
    )


def person(label: Label) -> str:
    """Return who drew a label: addresses are compared without their case, as Label Studio does."""
    return label.annotator.lower()


_NOT_INDEPENDENT: Final = (ProposalReason.SECOND_LOOK, ProposalReason.CORRECTION)
"""What these labels are was decided by looking at a label or a map: they say nothing about how far people agree."""


class _Masks:
    """Reads the masks of labels."""

    def __init__(self, store: RasterStore, scheme: ClassScheme) -> None:
        self._store = store
        self._scheme = scheme

    def of(self, label: Label) -> NDArray[np.uint8]:
        """Return the mask (h, w) of a label."""
        return self._read(label.mask_key)

    def known_truth(self, label: Label, reference: Reference | None) -> NDArray[np.uint8] | None:
        """Return the true mask (h, w) that a label is compared with; None if there is none, or the same person drew it.

        Args:
            label: With its patch and proposal.
            reference: The reference of its patch, if there is one; the outlines of the scene then do not count.
        """
        if reference is not None:
            is_other = _stands(reference) and person(label) != person(reference.label)
            return self.of(reference.label) if is_other else None
        if label.proposal.reason is not ProposalReason.KNOWN_TRUTH:
            return None
        uri = self._store.uri(raster_keys.truth(label.patch.scene_id))
        return np.asarray(read_map(uri, window_of(label.patch)), dtype=np.uint8)

    def count(self, reference: NDArray[np.uint8], label: Label) -> Counts:
        """Count the pixels of a label by the class of a reference mask (h, w)."""
        return count(reference, self.of(label), len(self._scheme.classes))

    def triple(self, labels: Sequence[Label]) -> list[Triple]:
        """Return the newest pair of labels of a patch with and without pre-annotation, if there is one."""
        for own, other in permutations(labels, 2):
            drawn_by = own.proposal.preannotated_by
            if drawn_by is not None and other.proposal.preannotated_by is None:
                proposal = self._read(raster_keys.preannotation(own.proposal.uid, drawn_by))
                return [Triple(self.of(own), self.of(other), proposal)]
        return []

    def _read(self, key: str) -> NDArray[np.uint8]:
        return mask_from_geotiff(self._store.get(key), self._scheme)


def _references(session: Session) -> Sequence[Reference]:
    return session.scalars(select(Reference).options(joinedload(Reference.label))).all()


def _stands(reference: Reference) -> bool:
    return reference.label.superseded_at is None


def _compared_labels(session: Session) -> list[Label]:
    """Return the standing labels of whole patches that have something to be compared with, newest first."""
    several = select(Label.patch_id).where(Label.superseded_at.is_(None)).group_by(Label.patch_id).having(_PEOPLE > 1)
    comparable = or_(
        Proposal.reason == ProposalReason.KNOWN_TRUTH,
        Label.patch_id.in_(several),
        Label.patch_id.in_(select(Reference.patch_id)),
    )
    statement = (
        select(Label)
        .join(Proposal, Label.proposal_id == Proposal.id)
        .where(Label.superseded_at.is_(None), OF_WHOLE_PATCH, comparable)
        .where(Proposal.reason.not_in(_NOT_INDEPENDENT))
        .options(joinedload(Label.proposal), joinedload(Label.patch))
        .order_by(NEWEST_FIRST)
    )
    return list(session.scalars(statement))


def _by_patch(labels: Iterable[Label]) -> dict[int, list[Label]]:
    """Return the labels of each patch, of each person only the first of the given order."""
    found: dict[int, dict[str, Label]] = defaultdict(dict)
    for label in labels:
        found[label.patch_id].setdefault(person(label), label)
    return {patch_id: list(of_patch.values()) for patch_id, of_patch in found.items()}


def _count_same_person(session: Session) -> int:
    """Count the patches with a standing second label that nobody but its annotator has labelled."""
    repeated = select(Label.patch_id).join(Proposal, Label.proposal_id == Proposal.id)
    repeated = repeated.where(Label.superseded_at.is_(None), Proposal.reason == ProposalReason.SECOND_LABEL)
    alone = (
        select(Label.patch_id)
        .where(Label.superseded_at.is_(None), Label.patch_id.in_(repeated))
        .group_by(Label.patch_id)
        .having(_PEOPLE == 1, func.count() > 1)
    )
    return len(session.scalars(alone).all())
