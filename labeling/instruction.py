"""What annotators read before their first task."""

from collections.abc import Sequence
from html import escape


def write_instruction(drawn: Sequence[str], background: str, unknown: str) -> str:
    """Write the instruction of the project.

    Args:
        drawn: The labels of what there is to outline.
        background: What everything left unpainted is taken as.
        unknown: The label of what the annotator cannot tell.

    Returns:
        HTML.
    """
    names = [f"<b>{escape(name)}</b>" for name in drawn]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return (
        f"Outline {listed} in the <b>true-colour</b> view; the other two views are there to be read. "
        "Correct the coloured proposal with brush and eraser, or draw polygons. Where regions overlap, the one drawn "
        "last counts. Where a part of the patch is outlined and the rest dark, judge only that part: what is drawn "
        f"elsewhere is not used. Everything you leave unpainted is taken as <b>{escape(background)}</b>, so paint what "
        f"you cannot tell as <b>{escape(unknown)}</b>. Nothing to outline? Delete all regions and submit. Skip a patch "
        "only if it cannot be judged."
    )
