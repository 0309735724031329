"""What annotators read before their first task."""

from collections.abc import Mapping, Sequence
from html import escape


def write_instruction(
    drawn: Sequence[str],
    background: str,
    unknown: str,
    *,
    clicks: bool = False,
    examples: Mapping[str, str] | None = None,
) -> str:
    """Write the instruction of the project.

    Args:
        drawn: The labels of what there is to outline.
        background: What everything left unpainted is taken as.
        unknown: The label of what the annotator cannot tell.
        clicks: Whether the page offers clicks that mend the proposal.
        examples: Caption to address of pictures of a patch and of what is drawn on it.

    Returns:
        HTML of the tags and attributes that Label Studio keeps, in the form in which it keeps them.
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
        f"Outline {listed}. Click a small picture beside the patch to draw on that view; <b>H</b> shows outlines only. "
        f"{mending if clicks else ''}Correct the coloured proposal with brush and eraser, or draw polygons. Where "
        "regions overlap, the one drawn last counts: press <b>U</b> before you paint over another class, for a "
        "selected region grows under later ones. Where a part of the patch is outlined and the rest dark, judge "
        "only that part: what is drawn elsewhere is not used. Everything you leave unpainted is taken as "
        f"<b>{escape(background)}</b>, so paint what you "
        f"cannot tell as <b>{escape(unknown)}</b>. Nothing to outline? Delete all regions and submit. Skip a patch "
        "only if it cannot be judged, and choose why."
        f"{_table(examples) if examples else ''}"
    )


def _table(examples: Mapping[str, str]) -> str:
    """Write pictures side by side: Label Studio keeps no style."""
    width = 100 // len(examples)
    cells = "".join(
        f'<td width="{width}%" valign="top"><img src="{escape(address)}" alt=""><br>{escape(caption)}</td>'
        for caption, address in examples.items()
    )
    return f"<table><tbody><tr>{cells}</tr></tbody></table>"
