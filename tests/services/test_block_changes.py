"""Where a version maps better or worse than another, from the cards of both."""

from typing import Any

import pytest

from imagery.grid import Grid, Window
from services.block_changes import BLOCKS_SHOWN, BlockChange, block_changes, most_changed


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


def test_the_largest_gains_and_losses_are_shown_and_no_block_that_stayed() -> None:
    gains = [3, -2, 0, 9, 1, -7, 5, 4]
    changes = [BlockChange(7, 0, n, 32, judged=100, before=50, after=50 + gain) for n, gain in enumerate(gains)]
    gained, lost = most_changed(changes)
    assert BLOCKS_SHOWN == 4
    assert [change.gain for change in gained] == [9, 5, 4, 3]
    assert [change.gain for change in lost] == [-7, -2]


def test_a_block_at_the_edge_is_cut_off() -> None:
    grid = Grid("EPSG:32645", (30.0, 0.0, 0.0, 0.0, -30.0, 0.0), width=100, height=70)
    assert BlockChange(7, 2, 3, 32, 1, 0, 1).window(grid) == Window(64, 96, 6, 4)
    assert BlockChange(7, 0, 1, 32, 1, 0, 1).window(grid) == Window(0, 32, 32, 32)


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
