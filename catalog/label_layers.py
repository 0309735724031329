"""Which label of a patch lies over which."""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from catalog.records import Label, ProposalReason

T = TypeVar("T")
Place = tuple[int, int | None]
"""Event and proposal of a label; no proposal for a correction on the map, which answers none."""


def in_layers(labels: Iterable[T], place: Callable[[T], Place]) -> list[T]:
    """Sort labels of one patch from the lowest to the uppermost.

    A label lies over those of earlier proposals, and of its own proposal over those that were received before it: who
    changes a drawing changes nothing of what was asked for later. A correction on the map lies below every label that
    was received after it, and over the others.

    Args:
        labels: Of one patch.
        place: Returns event and proposal of a label.
    """
    above = math.inf  # the lowest proposal with a later event
    keys: list[tuple[tuple[float, bool, int], T]] = []
    for label in sorted(labels, key=lambda item: place(item)[0], reverse=True):
        event, proposal = place(label)
        above = above if proposal is None else min(above, proposal)
        keys.append(((above, False, event) if proposal is None else (proposal, True, event), label))
    return [label for _, label in sorted(keys, key=lambda item: item[0])]


def place_of(label: Label) -> Place:
    """Return the place of a label whose proposal is loaded."""
    is_correction = label.proposal.reason is ProposalReason.CORRECTION
    return label.event_id, None if is_correction else label.proposal_id
