"""The panel beside the drawing: the views to choose from, the surroundings, and links to the same place elsewhere.

HTML that Label Studio shows as it is, without scripts: what is chosen is an open ``<details>``, and the style sheet
of the page (``page.css``) reacts to it. A chosen view lies beneath the drawing, so every view is drawn on and zoomed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

# A mask without the same mask shrunk by a pixel of the screen and a half.
_OUTLINE_FILTER = (
    '<svg width="0" height="0" aria-hidden="true"><filter id="glacier-outline-filter">'
    '<feMorphology operator="erode" radius="1.5" in="SourceGraphic" result="shrunk"></feMorphology>'
    '<feComposite operator="out" in="SourceGraphic" in2="shrunk"></feComposite></filter></svg>'
)
_SHOWN = (
    '<div class="glacier-shown" role="group" aria-label="How the classes are shown">Classes:'
    '<details name="glacier-shown" id="glacier-outlines"><summary>outlines only</summary></details>'
    '<details name="glacier-shown" id="glacier-faint"><summary>faint</summary></details>'
    "<span>key <b>H</b>: outlines, and drag the picture</span></div>"
)


@dataclass(frozen=True)
class Picture:
    """A picture of the patch.

    Attributes:
        name: Distinguishes it on the page: lower-case letters, digits and hyphens.
        title: What it is called.
        hint: What its colours mean; may be empty.
        url: Its address; of exactly as many pixels as the patch, except for the surroundings.
    """

    name: str
    title: str
    hint: str
    url: str


def write_panel(views: Sequence[Picture], surroundings: Picture | None, links: Mapping[str, str]) -> str:
    """Write the panel.

    Args:
        views: The views, first the one that Label Studio draws on: it shows while no other is chosen.
        surroundings: A wider picture, in which the patch is marked.
        links: Address by text.

    Returns:
        HTML; all texts are escaped.
    """
    rules = "".join(
        f"body:has(#glacier-view-{view.name}[open]) .glacier-drawing .lsf-image canvas"
        f'{{background-image:url("{view.url}")}}'
        for view in views[1:]
    )
    around = ""
    if surroundings is not None:
        around = (
            f'<figure class="glacier-around"><img src="{escape(surroundings.url)}" alt="{escape(surroundings.title)}">'
            f"<figcaption>{escape(surroundings.title)}. {escape(surroundings.hint)}</figcaption></figure>"
        )
    anchors = "".join(
        f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(text)}</a>'
        for text, address in links.items()
    )
    return (
        f"<style>{rules}</style>{_OUTLINE_FILTER}"
        f'{_SHOWN}<div class="glacier-views">{_first(views[0])}{"".join(map(_other, views[1:]))}</div>{around}'
        f'<p class="glacier-links">{anchors}</p>'
    )


def _first(view: Picture) -> str:
    return f'<div class="glacier-first">{_card(view)}</div>'


def _other(view: Picture) -> str:
    return (
        f'<details class="glacier-view" name="glacier-view" id="glacier-view-{view.name}">'
        f"<summary>{_card(view)}</summary><p>{escape(view.hint)}</p></details>"
    )


def _card(view: Picture) -> str:
    return f'<img src="{escape(view.url)}" alt="" title="{escape(view.hint)}">{escape(view.title)}'
