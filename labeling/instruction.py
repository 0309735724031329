"""What annotators read before their first task."""

from collections.abc import Sequence
from html import escape


def write_instruction(drawn: Sequence[str], background: str, unknown: str, *, clicks: bool = False) -> str:
    """Write the instruction of the project.

    Args:
        drawn: The labels of what there is to outline.
        background: What everything left unpainted is taken as.
        unknown: The label of what the annotator cannot tell.
        clicks: Whether the page offers clicks that mend the proposal.

    Returns:
        HTML.
    """
    names = [f"<b>{escape(name)}</b>" for name in drawn]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    mending = (
        "Where the proposal is wrong, first <b>mend it by clicks</b>: switch on <i>Auto-Annotation</i> and "
        "<i>Auto-Accept Suggestions</i> below the picture and press <b>M</b>; then for each click choose what is "
        "really there under <i>Mend</i>, hold <b>Ctrl</b> (on a Mac <b>Cmd</b>) and click on it. Use the brush only "
        "after the last click. "
    )
    return (
        f"Outline {listed} in the <b>true-colour</b> view; the other two views are there to be read. "
        f"{mending if clicks else ''}Correct the coloured proposal with brush and eraser, or draw polygons. Where "
        "regions overlap, the one drawn last counts. Where a part of the patch is outlined and the rest dark, judge "
        "only that part: what is drawn elsewhere is not used. Everything you leave unpainted is taken as "
        f"<b>{escape(background)}</b>, so paint what you "
        f"cannot tell as <b>{escape(unknown)}</b>. Nothing to outline? Delete all regions and submit. Skip a patch "
        "only if it cannot be judged."
    )
