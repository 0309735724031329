"""Where a version maps better or worse than another, from the cards of both."""

from typing import Any

import pytest

from services.block_changes import BlockChange, block_changes


def card(counts: list[list[int]], places: list[list[int]], **changes: Any) -> dict[str, Any]:
    blocks = {"classes": 2, "side_px": 32, "places": places, "counts": counts}
    judged_on = {"scenes": [7, 9], "truth_sha256": "1" * 64}
    given = {
        "classes": ["background", "ice"],
        "evaluation": {"validation": judged_on},
        "blocks": {"validation": blocks},
    }
    return given | changes


PLACES = [[0, 0, 1], [1, 2, 0]]
NEW, OLD = card([[50, 10, 5, 35], [90, 0, 10, 0]], PLACES), card([[40, 20, 5, 35], [95, 0, 5, 0]], PLACES[::-1])


def test_each_block_tells_how_many_more_pixels_are_right() -> None:
    found = block_changes(NEW, OLD)
    assert found == [
        BlockChange(7, 0, 1, 32, judged=100, before=95, after=85),  # its counts stand second in the other card
        BlockChange(9, 2, 0, 32, judged=100, before=75, after=90),
    ]
    assert [(change.gain, change.share) for change in found] == [(-10, -0.1), (15, 0.15)]


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ["background", "debris"]},
        {"evaluation": {"validation": {"scenes": [7, 9], "truth_sha256": "2" * 64}}},
        {"blocks": {}},
        {"blocks": {"validation": {**NEW["blocks"]["validation"], "side_px": 64}}},
    ],
)
def test_what_was_not_judged_alike_is_not_compared(changes: dict[str, Any]) -> None:
    other = card([], [], **changes)
    assert block_changes(NEW, other) == []
    assert block_changes(other, NEW) == []
