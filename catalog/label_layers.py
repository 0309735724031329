"""Which label of a patch lies over which."""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from catalog.records import Label, ProposalReason

T = TypeVar("T")
Place = tuple[int, int | None]
"""Event and proposal of a label; no proposal for a correction on the map, which answers none."""


def in_layers(labels: Iterable[T], place_in: Callable[[T], Place]) -> list[T]:
    """Sort labels of one patch from the lowest to the uppermost.

    A label lies over those of earlier proposals, and of its own proposal over those that were received before it: who
    changes a drawing changes nothing of what was asked for later. A correction on the map lies below every label that
    was received after it, and over the others.

    Args:
        labels: Of one patch.
        place_in: Returns the place of a label.
    """
    above = math.inf  # the lowest proposal with a later event
    keys: list[tuple[tuple[float, bool, int], T]] = []
    for label in sorted(labels, key=lambda item: place_in(item)[0], reverse=True):
        event, proposal = place_in(label)
        above = above if proposal is None else min(above, proposal)
        keys.append(((above, False, event) if proposal is None else (proposal, True, event), label))
    return [label for _, label in sorted(keys, key=lambda item: item[0])]


def place(event_id: int, proposal_id: int, reason: ProposalReason) -> Place:
    """Return the place of a label by its event, and its proposal with the reason of that."""
    return event_id, None if reason is ProposalReason.CORRECTION else proposal_id


def place_of(label: Label) -> Place:
    """Return the place of a label whose proposal is loaded."""
    return place(label.event_id, label.proposal_id, label.proposal.reason)
