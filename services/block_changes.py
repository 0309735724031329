"""Where a version maps the validation scenes better or worse than another: block by block, from the cards of both.

The blocks are those by which the gate compares two versions (`models.block_counts`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from imagery.grid import Grid, Window

VALIDATION: Final = "validation"
BLOCKS_SHOWN: Final = 4
"""Of the blocks that a version maps better, and of those that it maps worse, with pictures."""


@dataclass(frozen=True)
class BlockChange:
    """How many pixels of a block two versions map right.

    Attributes:
        scene_id: The scene.
        row: Number of the block from the top of the scene.
        col: Number of the block from its left edge.
        side_px: Side of the block in pixels; at the edges of a scene blocks are cut off.
        judged: Pixels with a known class.
        before: How many of them the other version maps right.
        after: How many of them the version maps right.
    """

    scene_id: int
    row: int
    col: int
    side_px: int
    judged: int
    before: int
    after: int

    def window(self, grid: Grid) -> Window:
        """Return the block in pixels of its scene, which has this grid."""
        row, col = self.row * self.side_px, self.col * self.side_px
        return Window(row, col, min(self.side_px, grid.height - row), min(self.side_px, grid.width - col))

    @property
    def gain(self) -> int:
        """Pixels that are right now and were not, minus those that were right and are not."""
        return self.after - self.before

    @property
    def share(self) -> float:
        """The gain as a share of the judged pixels."""
        return self.gain / self.judged


def block_changes(card: Mapping[str, Any], other: Mapping[str, Any]) -> list[BlockChange]:
    """Compare two versions by block.

    Args:
        card: The card of a version.
        other: That of the version to compare it with.

    Returns:
        One entry for each block. Empty if they were not judged on the same outlines with the same classes, or if a card
        is of an earlier release.
    """
    blocks, judged_on = card.get("blocks", {}).get(VALIDATION), card["evaluation"].get(VALIDATION)
    others = other.get("blocks", {}).get(VALIDATION)
    if blocks is None or others is None or judged_on is None:
        return []
    same = judged_on == other["evaluation"].get(VALIDATION) and card["classes"] == other["classes"]
    if not same or blocks["side_px"] != others["side_px"]:
        return []
    before = {tuple(place): counts for place, counts in zip(others["places"], others["counts"], strict=True)}
    pairs = zip(map(tuple, blocks["places"]), blocks["counts"], strict=True)
    return [
        BlockChange(
            judged_on["scenes"][place[0]],
            row=place[1],
            col=place[2],
            side_px=blocks["side_px"],
            judged=sum(counts),
            before=_right(before[place], blocks["classes"]),
            after=_right(counts, blocks["classes"]),
        )
        for place, counts in pairs
        if place in before
    ]


def most_changed(changes: Iterable[BlockChange]) -> tuple[list[BlockChange], list[BlockChange]]:
    """Return the blocks with the largest gains and those with the largest losses, at most `BLOCKS_SHOWN` of each."""
    ordered = sorted(changes, key=lambda change: change.gain)
    gained = [change for change in reversed(ordered) if change.gain > 0][:BLOCKS_SHOWN]
    lost = [change for change in ordered if change.gain < 0][:BLOCKS_SHOWN]
    return gained, lost


def _right(counts: Sequence[int], classes: int) -> int:
    """Return the pixels on the diagonal of a confusion matrix that is given row by row."""
    return sum(counts[:: classes + 1])
