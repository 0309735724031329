"""Recognising which class the features of a vector layer belong to, for a proposal that a person confirms.

Many layers hold several classes that an attribute field tells apart (`Glaciers`: "Clean Ice", "Debris covered"). What
cannot be recognised is never guessed: it is listed, and a person maps it.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from imagery.classes import BACKGROUND, ClassScheme
from imagery.errors import OutlineError
from imagery.glacier_vocabulary import (
    IGNORED,
    INVENTORY_FIELDS,
    SCHEME,
    VALUES,
    WHOLE_GLACIER,
    answer_meanings,
    is_debris_name,
    is_doubtful_name,
    normalise,
    recognise_inventory,
)
from imagery.outline_period import read_date
from imagery.vector_files import LayerHeader, choose_layer, open_vector
from imagery.vectors import CLASS_FIELD, ClassFilter, find_field, no_field, value_text

# Fields that may name classes, and those among them that are recognised although they also hold unknown values.
_MAY_TELL: Final = re.compile(
    r"class|klass|categ|legend|label|type|surf|cover|debris|^dc|glac|^ice|landcov|lulc|kind|name|layer|desc|remark|note"
    r"|clase|tipo|typ$|^art$|natur|superf|cobert|couv|klasse|oberfl",
    re.IGNORECASE,
)
_TELLS: Final = re.compile(
    r"class|klass|categ|legend|^type|line_?type|ice_?type|surf|cover|debris|^dc$|^glaciers?$|clase|^tipo|^typ$", re.I
)
_ANY: Final = re.compile("")
# Names of fields whose codes may tell classes, values that are measures or numbers, and values that are words.
_CODES: Final = re.compile(f"{_TELLS.pattern}|code", re.IGNORECASE)
_MEASURE: Final = re.compile(r"-?\d+\.\d+(?:e.*)?|-?\d{4,}")
_WORD: Final = re.compile(r"[^\W\d_]{3}|[^\W\d_a-zA-Z]")  # Chinese writes one in two characters
_STATUS: Final = ("status", "glac_stat", "gone_date")  # fields of RGI 6 and GLIMS, in lower case
_MOST_VALUES: Final = 50  # a field with more is a name or a number, not a class
_MOST_SHOWN, _FEW_SHOWN = 12, 4  # values listed in a message, of one field and of each of many


@dataclass(frozen=True)
class ClassValue:
    """One value of a class field.

    Attributes:
        value: As `imagery.vectors.value_text` writes it; "" for no value.
        features: Number of features with it, in the whole layer.
        class_name: The class that it is taken for; None if it is ignored or not recognised.
        ignored: Why it is of no class; None if it is of one, or not recognised.
    """

    value: str
    features: int
    class_name: str | None
    ignored: str | None = None


@dataclass(frozen=True)
class ClassField:
    """A proposal: how a layer tells classes.

    Attributes:
        path: The file.
        layer: The layer.
        field: The attribute field; None if all features are of `class_name`.
        class_name: The class of all features, without a field.
        values: With a field, its values, the most frequent first.
        features: Number of features of the layer.
        notes: What to know before it is used.
    """

    path: str
    layer: str
    field: str | None
    class_name: str | None
    values: tuple[ClassValue, ...]
    features: int
    notes: tuple[str, ...]

    @property
    def unmapped(self) -> tuple[str, ...]:
        """Values that were not recognised; a person has to map them."""
        return tuple(item.value for item in self.values if item.class_name is None and item.ignored is None)

    @property
    def filters(self) -> Mapping[str, ClassFilter | None]:
        """The class of each part of the layer, with the filter that selects it."""
        if self.field is None:
            return {} if self.class_name is None else {self.class_name: None}
        names = dict.fromkeys(item.class_name for item in self.values if item.class_name is not None)
        return {
            name: ClassFilter(self.field, tuple(item.value for item in self.values if item.class_name == name))
            for name in names
        }

    def describe(self) -> str:
        """Describe the proposal in one line."""
        if self.field is None:
            return f"all {self.features} features are {self.class_name}"
        told = "; ".join(f"{item.value or 'no value'!r} ({item.features}) {_taken_as(item)}" for item in self.values)
        return f"field {self.field!r} tells classes: {told}"

    def options(self) -> str:
        """Write the proposal as options of the command line, with a place for what was not recognised."""
        mapped = [f'--map "{item.value}={item.class_name or "CLASS"}"' for item in self.values if item.ignored is None]
        return " ".join([f"--class-field {self.field}", *mapped])


def propose(path: str, layer: str | None, scheme: ClassScheme) -> ClassField | None:
    """Propose how a layer tells classes, from its fields and their values, or from its name.

    Args:
        path: The vector file.
        layer: The layer; None only if the file has exactly one with features.
        scheme: The classes.

    Returns:
        The proposal; None if nothing was recognised.

    Raises:
        OutlineError: Two fields tell classes that contradict each other, or as `imagery.vectors.read_layer`.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        candidates = [name for name in header.fields if _MAY_TELL.search(name)]
        columns = file.attributes(header, candidates) if candidates else {}
    words = _Words(scheme)
    inventory = recognise_inventory(frozenset(name.casefold() for name in header.fields)) if words.glaciers else None
    notes = [f"recognised as {inventory.name}: {inventory.note}"] if inventory else []
    notes += notes_on_status(path, layer, scheme)
    found = [item for name in candidates if (item := _values_of(name, columns[name], words))]
    if found:
        field, values = _chosen(path, header, found, columns)
        whole = [item.value for item in values if words.glaciers and normalise(item.value) in WHOLE_GLACIER]
        notes += [f"{value!r} means whole glaciers: clean ice where no debris is outlined" for value in whole]
        notes += _untold(path, layer, words, _TELLS)
        if doubt := _encoding_doubt(header, [item.value for item in values]):
            notes.append(f"values of {field!r}{doubt}")
        return ClassField(path, header.name, field, None, values, header.feature_count, tuple(notes))
    class_name = _class_by_name(path, header.name, words)
    doubtful = words.glaciers and any(is_doubtful_name(name) for name in (header.name, Path(path).stem))
    if class_name is None and inventory and not doubtful:
        class_name = words.whole_glaciers
    if class_name is None:
        return None
    notes += _untold(path, layer, words)
    return ClassField(path, header.name, None, class_name, (), header.feature_count, tuple(notes))


def check_told_apart(path: str, layer: str | None, class_names: Sequence[str], scheme: ClassScheme) -> None:
    """Refuse a layer that is named without a filter although it holds several classes.

    Burnt as a whole, all of its features would become one class, or the one of the higher precedence.

    Args:
        path: The vector file.
        layer: The layer; None only if the file has exactly one with features.
        class_names: The classes that the layer is named for without a filter.
        scheme: The classes.

    Raises:
        OutlineError: The layer is named for two classes, or a field of it tells classes apart. A field `class` that
            holds only names of classes is a filter by itself.
    """
    proposal = propose(path, layer, scheme)
    told = "no field of it was recognised to tell them apart: name one with --class-field and --map"
    if proposal is not None and proposal.field is not None:
        if proposal.field.casefold() == CLASS_FIELD and all(
            item.value in {entry.name for entry in scheme.legend} for item in proposal.values
        ):
            return
        told = f"{proposal.describe()}. Name the field: {proposal.options()}"
        if len({_taken_as(item) for item in proposal.values}) > 1:
            raise OutlineError(
                f"{path}: found a layer whose features are of several classes, named for {', '.join(class_names)} as a "
                f"whole; {told}"
            )
    if len(set(class_names)) > 1:
        raise OutlineError(
            f"{path}: found one layer named for the classes {', '.join(class_names)}; expected a field that tells "
            f"them apart, or a layer for each; {told}"
        )


def unrecognised_fields(path: str, layer: str | None, scheme: ClassScheme) -> list[str]:
    """Return a note on fields that may tell classes, for a layer that is named for one; empty without such a field.

    Args:
        path: The vector file.
        layer: The layer; None only if the file has exactly one with features.
        scheme: The classes.

    Raises:
        OutlineError: As `imagery.vectors.read_layer`.
    """
    return _untold(path, layer, _Words(scheme))


def notes_on_status(path: str, layer: str | None, scheme: ClassScheme) -> list[str]:
    """Return notes on features of an inventory that outline no ice by their status, but are burnt as the others are.

    They are glaciers of RGI 6 whose outline is only a circle (`Status` 2), and those of GLIMS that are gone
    (`glac_stat` "gone", or a `gone_date`).

    Args:
        path: The vector file.
        layer: The layer; None only if the file has exactly one with features.
        scheme: The classes.

    Raises:
        OutlineError: As `imagery.vectors.read_layer`.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        known = [name for name in header.fields if name.casefold() in _STATUS]
        columns = file.attributes(header, known) if known and _Words(scheme).glaciers else {}
    texts = {name.casefold(): [value_text(value) for value in column] for name, column in columns.items()}
    nominal = texts.get("status", []).count("2")
    gone = {row for row, text in enumerate(texts.get("glac_stat", [])) if normalise(text) == "gone"}
    gone |= {row for row, text in enumerate(texts.get("gone_date", [])) if read_date(text)}
    notes = []
    if nominal and recognise_inventory(frozenset(name.casefold() for name in header.fields)):
        notes.append(f"{nominal} nominal glaciers (Status 2), whose outlines are circles: leave them out")
    if gone:
        notes.append(
            f"{len(gone)} features are of glaciers that are gone (glac_stat, gone_date), and count as ice here: "
            "leave out those that were gone when the image was taken"
        )
    return notes


def check_values(path: str, layer: str | None, field: str, values: Collection[str]) -> None:
    """Refuse values of a field that are mapped to classes if they are misspelt: the features would be background.

    Args:
        path: The vector file.
        layer: The layer; None only if the file has exactly one with features.
        field: The attribute field, in any case.
        values: The values, as `imagery.vectors.value_text` writes them.

    Raises:
        OutlineError: No feature has any of the values, or one value differs from those of features only in case,
            punctuation or leading zeros; or as `imagery.vectors.read_layer`.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        column = find_field(header.fields, field)
        if column is None:
            raise no_field(path, header, field)
        counts = Counter(value_text(value) for value in file.attributes(header, [column])[column])
    spelt = {_spelling(text): text for text in counts}
    for value in values:
        if value not in counts and (meant := spelt.get(_spelling(value))):
            raise OutlineError(f"{path}: found no feature whose {column!r} is {value!r}; expected {meant!r}, as it has")
    if not any(value in counts for value in values):
        raise OutlineError(
            f"{path}: found no feature whose {column!r} is {' or '.join(map(repr, values))}; its values are "
            f"{_listed(counts, _MOST_SHOWN)}{_encoding_doubt(header, counts)}"
        )


def describe_fields(path: str, layer: str | None) -> str:
    """List the fields of a layer that may tell classes, with their values: of a field with at most 50 of them.

    Raises:
        OutlineError: As `imagery.vectors.read_layer`.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        columns = file.attributes(header, header.fields) if header.fields else {}
    told = []
    for name, column in columns.items():
        counts = Counter(value_text(value) for value in column)
        if 1 < len(counts) <= _MOST_VALUES:
            told.append(f"{name} ({_listed(counts, _FEW_SHOWN)})")
    if not told:
        return "no field of it has 2 to 50 values"
    return f"its fields and their values: {'; '.join(told)}{_encoding_doubt(header, told)}"


def _spelling(text: str) -> str:
    """Return a value without case, punctuation and the zeros in front of numbers."""
    return re.sub(r"^0+(?=\w)", "", normalise(text))


def _listed(counts: Counter[str], most: int) -> str:
    shown = ", ".join(f"{value or 'no value'!r} ({count})" for value, count in counts.most_common(most))
    return f"{shown}, ..." if len(counts) > most else shown


def _encoding_doubt(header: LayerHeader, texts: Iterable[str]) -> str:
    """Return the end of a sentence on values that may be misread; empty if their encoding is known or ASCII."""
    if not header.encoding_unknown or all(text.isascii() for text in texts):
        return ""
    return (
        "; a shapefile without a .cpg file does not tell how its texts are encoded, and was read as ISO 8859-1: write "
        "the encoding, such as GBK or CP1251, into a .cpg file beside it"
    )


class _Words:
    """What values and names mean in a scheme: the names of its classes, and those of glacier inventories if it fits."""

    def __init__(self, scheme: ClassScheme) -> None:
        self._names = {entry.value: entry.name for entry in scheme.legend}
        self.glaciers = {**self._names, **SCHEME} == self._names and len(scheme.classes) == len(SCHEME) + 1
        own = {normalise(entry.name): entry.name for entry in scheme.legend}
        given = {word: self._names[value] for word, value in VALUES.items()} if self.glaciers else {}
        self._meanings = given | own

    @property
    def whole_glaciers(self) -> str:
        """The class of outlines of whole glaciers."""
        return self._meanings["glacier"]

    def class_of(self, text: str) -> str | None:
        """Return the class that a value or a name means; None if it is not recognised."""
        return self._meanings.get(normalise(text))

    def why_ignored(self, text: str) -> str | None:
        """Return why features with a value are no outlines; None if they are, or it is not recognised."""
        return IGNORED.get(normalise(text)) if self.glaciers else None

    def class_of_answer(self, field: str, text: str) -> str | None:
        """Return the class that a value answers if its field asks for debris; None if it is no answer, or does not."""
        value = answer_meanings(field).get(normalise(text)) if self.glaciers else None
        return None if value is None else self._names[value]

    @property
    def background(self) -> str:
        """The name of the background."""
        return self._names[BACKGROUND]


def _values_of(name: str, column: NDArray[Any], words: _Words) -> tuple[str, tuple[ClassValue, ...]] | None:
    """Return the name and the values of a field that tells classes; None of another field."""
    counts = Counter(value_text(value) for value in column)
    if len(counts) > _MOST_VALUES:
        return None
    answers = {text: words.class_of_answer(name, text) for text in counts}
    is_answer = all(answers.values())
    values = tuple(
        ClassValue(text, count, answers[text] if is_answer else words.class_of(text), words.why_ignored(text))
        for text, count in counts.most_common()
    )
    known = sum(item.class_name is not None for item in values)
    understood = all(item.class_name or item.ignored for item in values)
    return (name, values) if known and (understood or _TELLS.search(name)) else None


def _chosen(
    path: str,
    header: LayerHeader,
    found: Sequence[tuple[str, tuple[ClassValue, ...]]],
    columns: Mapping[str, NDArray[Any]],
) -> tuple[str, tuple[ClassValue, ...]]:
    """Return the field, with its values, that tells what all fields that were recognised tell, or more.

    Raises:
        OutlineError: There is none: two fields contradict each other, or each tells what the other does not.
    """
    texts = {name: [value_text(value) for value in columns[name]] for name, _ in found}
    means = {name: {item.value: item for item in values} for name, values in found}

    def contradicted(name: str, other: str) -> tuple[str, str] | None:
        """Return the values of the first feature of which the other field tells something else."""
        pairs = zip(texts[name], texts[other], strict=True)
        return next((pair for pair in pairs if not _agrees(means[name][pair[0]], means[other][pair[1]])), None)

    ranked = sorted(
        found, key=lambda item: (len({value.class_name for value in item[1]} - {None}), item[0]), reverse=True
    )
    doubts = []
    for name, values in ranked:
        told = [(other, pair) for other in means if other != name and (pair := contradicted(name, other))]
        if not told:
            return name, values
        doubts += [f"{name!r} is {pair[0]!r} where {other!r} is {pair[1]!r}" for other, pair in told]
    described = [ClassField(path, header.name, name, None, values, header.feature_count, ()) for name, values in ranked]
    raise OutlineError(
        f"{path}: found fields that tell classes differently: {doubts[0]}; "
        f"{'; '.join(item.describe() for item in described)}; expected one: choose it "
        f"({' or '.join(item.options() for item in described)}), or write one field of both"
    )


def _agrees(item: ClassValue, other: ClassValue) -> bool:
    """Return whether the value of another field tells nothing of a feature that this one does not.

    Outlines of whole glaciers leave open whether their ice is covered, and no value says nothing.
    """
    is_whole = other.class_name is not None and normalise(other.value) in WHOLE_GLACIER
    return (
        not other.value
        or (item.class_name, item.ignored) == (other.class_name, other.ignored)
        or (is_whole and item.class_name in SCHEME.values())
    )


def _class_by_name(path: str, layer: str, words: _Words) -> str | None:
    """Return the class that the name of a layer or file means, as "clean_ice.gpkg" and "region_13_debris.shp".

    A layer whose name is doubtful is of no class, whatever its file is called.
    """
    for name in (layer, Path(path).stem):
        if (meant := words.class_of(name)) not in {None, words.background}:
            return meant
        if words.glaciers and is_doubtful_name(name):
            return None
        if words.glaciers and is_debris_name(name):
            return words.class_of("debris")
    return None


def _untold(path: str, layer: str | None, words: _Words, names: re.Pattern[str] = _ANY) -> list[str]:
    """Return a note on fields that may tell classes in words or codes that are not recognised.

    Such a field has 2 to 12 values: texts that recur, or codes if the field's name speaks of classes. Fields of
    published inventories are known not to tell classes.

    Args:
        path: The vector file.
        layer: The layer.
        words: What values mean.
        names: Which names the fields have.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        inventory = (
            recognise_inventory(frozenset(name.casefold() for name in header.fields)) if words.glaciers else None
        )
        known = INVENTORY_FIELDS if inventory else frozenset()
        fields = [name for name in header.fields if name.casefold() not in known and names.search(name)]
        columns = file.attributes(header, fields) if fields else {}
    told = []
    for name, column in columns.items():
        counts = Counter(value_text(value) for value in column)
        if not 2 <= len(counts) <= _MOST_SHOWN or _values_of(name, column, words):
            continue
        is_code = _CODES.search(name) and not any(_MEASURE.fullmatch(text) for text in counts)
        recurs = len(counts) < len(column) and len(counts.keys() - {""}) > 1
        if is_code or (recurs and any(_WORD.search(text) for text in counts)):
            told.append(f"{name} ({_listed(counts, _FEW_SHOWN)})")
    if not told:
        return []
    return [
        f"its fields {'; '.join(told)} were not recognised: if one tells classes, name it with --class-field and --map"
        f"{_encoding_doubt(header, told)}"
    ]


def _taken_as(item: ClassValue) -> str:
    if item.class_name is not None:
        return f"is {item.class_name}"
    return f"is left out: it {item.ignored}" if item.ignored else "is not recognised"
