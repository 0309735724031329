"""The labels of one patch as one mask."""

from datetime import UTC, datetime

import numpy as np

from catalog.records import Label, Proposal, ProposalReason
from services.composed_labels import compose_labels

UNKNOWN = 255
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
TOP, BOTTOM = [0, 2, 2], [2, 2]  # of a patch of 2 x 2 pixels


def label(minutes: int, region: list[int] | None, value: int) -> tuple[Label, np.ndarray]:
    row = Label(id=minutes, event_id=minutes, proposal=Proposal(region=region))
    return row, np.full((2, 2), value, dtype=np.uint8)


def composed(*labels: tuple[Label, np.ndarray]) -> list[list[int]]:
    masks = {row.id: mask for row, mask in labels}
    rows = [row for row, _ in labels]
    return compose_labels(rows, lambda row: masks[row.id], 2, UNKNOWN).tolist()


def test_what_no_label_was_asked_about_is_unjudged_and_not_background() -> None:
    assert composed(label(0, TOP, 1)) == [[1, 1], [UNKNOWN, UNKNOWN]]


def test_parts_add_up_and_the_newest_counts_where_it_judged() -> None:
    assert composed(label(0, TOP, 1), label(1, BOTTOM, 2)) == [[1, 1], [2, 2]]
    assert composed(label(0, None, 1), label(1, BOTTOM, 0)) == [[1, 1], [0, 0]]
    assert composed(label(1, BOTTOM, 0), label(0, None, 1)) == [[1, 1], [0, 0]]  # whatever the order given
    assert composed(label(1, None, 2), label(0, TOP, 1)) == [[2, 2], [2, 2]]


def test_unknown_is_a_judgement_too() -> None:
    assert composed(label(0, None, 1), label(1, TOP, UNKNOWN)) == [[UNKNOWN, UNKNOWN], [1, 1]]


def second(minutes: int, value: int) -> tuple[Label, np.ndarray]:
    row, mask = label(minutes, None, value)
    row.proposal.reason = ProposalReason.SECOND_LABEL
    return row, mask


def test_where_two_people_name_different_classes_nobody_is_believed() -> None:
    first = (label(0, None, 1)[0], np.array([[1, 1], [2, UNKNOWN]], dtype=np.uint8))
    again = (second(1, 0)[0], np.array([[1, 2], [UNKNOWN, 2]], dtype=np.uint8))
    assert composed(first, again) == [[1, UNKNOWN], [2, 2]]  # where only one names a class, that one counts
    assert composed(again) == [[1, 2], [UNKNOWN, 2]]  # the first was deleted


def test_a_newer_label_settles_what_two_people_disputed() -> None:
    assert composed(label(0, None, 1), second(1, 2), label(2, None, 0)) == [[0, 0], [0, 0]]


def of_proposal(number: int, given: tuple[Label, np.ndarray]) -> tuple[Label, np.ndarray]:
    given[0].proposal_id = number
    return given


def corrected(minutes: int, value: int) -> tuple[Label, np.ndarray]:
    row, mask = label(minutes, None, value)
    row.proposal.reason = ProposalReason.CORRECTION
    return of_proposal(minutes, (row, mask))


def test_who_changes_a_drawing_replaces_nothing_of_what_was_asked_for_later() -> None:
    changed = of_proposal(1, label(20, None, 1))
    assert composed(changed, of_proposal(2, second(10, 2))) == [[UNKNOWN] * 2] * 2
    assert composed(changed, of_proposal(2, label(10, TOP, 2))) == [[2, 2], [1, 1]]


def test_a_correction_counts_over_what_was_received_before_it() -> None:
    first, again = of_proposal(1, label(10, None, 1)), of_proposal(2, label(20, None, 2))
    assert composed(first, again, corrected(30, 0)) == [[0, 0], [0, 0]]
    assert composed(first, again, corrected(15, 0)) == [[2, 2], [2, 2]]
    assert composed(of_proposal(1, label(40, None, 1)), corrected(30, 0)) == [[1, 1], [1, 1]]
