"""Prior outlines: outlines of an earlier inventory, from which versions learn as weak labels.

They may be displaced, incomplete and out of date. Nobody is judged by them, and a label always overrides them.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.grid import Grid
from imagery.masks import OutlineLayer
from imagery.outline_dating import date_outlines
from services.outline_check import OutlineSummary
from services.outline_dates import notes_on_doubled


@dataclass(frozen=True)
class PriorOutlines:
    """The prior outlines of a scene, as stored with it.

    Attributes:
        layers: The outlines of each class.
        date: When they were drawn from images, "2000-10-30", "2000-10" or "2000"; None if unknown.
        source: Who drew them; None if unknown.
        ring_m: Pixels whose centres are at most this far from an edge teach nothing, metres.
        sha256: Checksum of their geometries near the scene (`imagery.vectors.VectorLayer.sha256`).
    """

    layers: tuple[OutlineLayer, ...]
    date: str | None
    source: str | None
    ring_m: float
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return what is stored in ``scenes.prior_outlines``."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "PriorOutlines":
        """Read what `to_json` wrote."""
        layers = tuple(OutlineLayer(**layer) for layer in document["layers"])
        return cls(**{**document, "layers": layers})


@dataclass(frozen=True)
class ToldApart:
    """Which classes prior outlines tell apart.

    A class lies on those of lower precedence, as debris on a glacier. Outlines of whole glaciers without a layer of
    debris therefore do not tell whether a pixel inside is debris; and a layer of debris alone does not tell whether a
    pixel outside is clean ice or background.

    Attributes:
        ambiguous: Values whose pixels may be of another foreground class as well.
        background: Whether pixels outside of all outlines are background; else nothing is known about them.
        sentence: The same for people; None if all classes are told apart.
    """

    ambiguous: frozenset[int]
    background: bool
    sentence: str | None


def told_apart(outlined: Collection[str], scheme: ClassScheme) -> ToldApart:
    """Return which classes outlines tell apart.

    Args:
        outlined: Names of the classes that have a layer.
        scheme: The classes.
    """
    foreground = [item for item in scheme.classes if item.value != BACKGROUND]
    missing = [item for item in foreground if item.name not in outlined]
    named = [item for item in foreground if item.name in outlined]
    ambiguous = [item for item in named if any(other.precedence > item.precedence for other in missing)]
    lowest = min((item.precedence for item in named), default=UNKNOWN)
    outside = [item.name for item in missing if item.precedence < lowest]
    sentences = []
    if ambiguous:
        sentences.append(
            f"they have no layer of {_listed(item.name for item in missing if item.name not in outside)}, so that "
            f"{_listed(item.name for item in ambiguous)} in them only means {scheme.foreground}"
        )
    if outside:
        sentences.append(f"they do not outline {_listed(outside)}, so that nothing is known outside of them")
    values = frozenset(item.value for item in ambiguous)
    return ToldApart(values, not outside, "; ".join(sentences) or None)


def describe_priors(
    layers: Sequence[OutlineLayer],
    summary: OutlineSummary,
    grid: Grid,
    scheme: ClassScheme,
    *,
    date: str | None,
    source: str | None,
    ring_m: float,
) -> tuple[PriorOutlines, list[str]]:
    """Return the prior outlines of a scene, and notes on what was guessed and what they do not tell.

    Args:
        layers: The outlines of each class.
        summary: What was found in them.
        grid: The scene's grid.
        scheme: The classes.
        date: As stated by a person; None: proposed from the attributes.
        source: Likewise.
        ring_m: The ring along edges, metres.

    Raises:
        OutlineError: A file cannot be read.
    """
    notes = []
    for path, layer, period in dict.fromkeys((item.path, item.layer, item.period) for item in layers):
        found = date_outlines(path, layer, grid, period)
        if date is None and found.middle is not None:
            date = found.middle
            spread = f"{found.first} to {found.last}" if found.first != found.last else f"{found.first}"
            notes.append(
                f"prior outlines: the date {date} is guessed, the median of {found.field!r} ({spread}; {found.dated} "
                f"of {found.features} features)"
            )
        if source is None and found.source is not None:
            source = found.source
            notes.append(f"prior outlines: the source {source!r} is guessed from the fields of {path}")
    notes += [f"prior outlines: {note}" for note in notes_on_doubled(layers, grid)]
    unknown = [name for name, value in (("date", date), ("source", source)) if value is None]
    if unknown:
        notes.append(f"prior outlines: the {' and the '.join(unknown)} could not be guessed; name it if you know it")
    told = told_apart({item.class_name for item in layers}, scheme)
    if told.sentence is not None:
        notes.append(f"prior outlines: {told.sentence}")
    digest = hashlib.sha256("\n".join(f"{item.outline.class_name} {item.sha256}" for item in summary.layers).encode())
    return PriorOutlines(tuple(layers), date, source, ring_m, digest.hexdigest()), notes


def _listed(names: Collection[str] | Any) -> str:
    return " and ".join(names)
