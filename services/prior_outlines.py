"""Prior outlines: outlines of an earlier inventory, from which versions learn as weak labels.

They may be displaced, incomplete and out of date. Nobody is judged by them, and a label always overrides them.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.grid import Grid
from imagery.masks import OutlineLayer
from imagery.outline_dating import Dating, date_outlines
from services.outline_check import OutlineSummary
from services.outline_dates import notes_on_doubled

# Layers whose years differ by more are not given one date.
_MOST_YEARS_APART: Final = 1


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
    files = dict.fromkeys((item.path, item.layer, item.period) for item in layers)
    found = [
        (f"{path}, layer {layer}" if layer else path, date_outlines(path, layer, grid, period))
        for path, layer, period in files
    ]
    notes: list[str] = []
    if date is None:
        date, notes = _common_date(found)
    if source is None:
        sources: dict[str, str] = {}
        for place, dating in found:
            if dating.source is not None:
                sources.setdefault(dating.source, place)
        source = " and ".join(sources) or None
        notes += [
            f"prior outlines: the source {each!r} is guessed from the fields of {place}"
            for each, place in sources.items()
        ]
    notes += [f"prior outlines: {note}" for note in notes_on_doubled(layers, grid)]
    unknown = [name for name, value in (("date", date), ("source", source)) if value is None]
    if unknown:
        notes.append(f"prior outlines: the {' and the '.join(unknown)} could not be guessed; name it if you know it")
    told = told_apart({item.class_name for item in layers}, scheme)
    if told.sentence is not None:
        notes.append(f"prior outlines: {told.sentence}")
    digest = hashlib.sha256("\n".join(f"{item.outline.class_name} {item.sha256}" for item in summary.layers).encode())
    return PriorOutlines(tuple(layers), date, source, ring_m, digest.hexdigest()), notes


def _common_date(found: Sequence[tuple[str, Dating]]) -> tuple[str | None, list[str]]:
    """Return the date of the first layer that tells one, None if the years of the layers are too far apart; and notes.

    Args:
        found: Where each layer is, and what it tells.
    """
    dates, told = [], []
    for place, dating in found:
        if dating.middle is not None:
            spread = f"{dating.first} to {dating.last}" if dating.first != dating.last else f"{dating.first}"
            median = f"the median of {dating.field!r} ({spread}; {dating.dated} of {dating.features} features)"
            told.append((place, median))
            dates.append(dating.middle)
    if not dates:
        return None, []
    date = dates[0]
    if len(set(dates)) == 1:
        return date, [f"prior outlines: the date {date} is guessed, {told[0][1]}"]
    each = "; ".join(f"{day} in {place}, {median}" for day, (place, median) in zip(dates, told, strict=True))
    years = [int(day[:4]) for day in dates]
    if max(years) - min(years) > _MOST_YEARS_APART:
        return None, [f"prior outlines: the layers are of different dates, so that none is taken for all: {each}"]
    return date, [f"prior outlines: the date {date}, of the first layer, is guessed for all: {each}"]


def _listed(names: Collection[str] | Any) -> str:
    return " and ".join(names)
