"""The classes of an installation: names, pixel values, colours, and precedence where outlines overlap.

A `ClassScheme` is configured once for an installation (`services.class_scheme`) and passed as an argument. Only two
pixel values are the same in every scheme: 0 for background and 255 for unknown.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

BACKGROUND: Final = 0
"""The pixel value of background, the class of pixels that no region covers."""

UNKNOWN: Final = 255
"""The pixel value of pixels that nobody judged: cloud, outside the scene's border, or marked so by the annotator.

Losses, metrics and uncertainty ignore these pixels.
"""

_MAX_CLASSES: Final = 20  # more have neither distinguishable colours nor hotkeys in Label Studio
_NAME_PATTERN: Final = re.compile(r"\w([\w .:/-]*\w)?")
_RESERVED: Final = "mean"  # key of the mean where scores are listed by class
_NAME_RULE: Final = (
    "letters, digits, spaces and _ - . : / between two letters or digits, with no '//' or '/./', since Label Studio "
    "labels and MLflow tags are named so"
)


def _check_name(name: str) -> str:
    """Refuse names that MLflow would refuse in a tag or a metric, but only after hours of training."""
    if not _NAME_PATTERN.fullmatch(name) or posixpath.normpath(name) != name:
        raise ValueError(f"found the class name {name!r}; expected {_NAME_RULE}")
    if name.casefold() == _RESERVED:
        raise ValueError(f"found the class name {name!r}, under which the mean over the classes is listed; rename it")
    return name


def _check_distinct(what: str, values: Iterable[object]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(f"found {what} that occur twice in the classes: {repeated}; expected distinct ones")


Name = Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_check_name)]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelClass(_Frozen):
    """One class.

    Attributes:
        name: The name shown to annotators.
        value: The pixel value in a label mask, 0 to 255.
        colour: The display colour, "#rrggbb".
        precedence: Where outlines overlap, the class of the highest precedence wins. By default the value.
        annotated: Whether annotators draw it. By default all classes but background.
    """

    name: Name
    value: int = Field(ge=0, le=255)
    colour: Colour
    precedence: int = Field(ge=0, le=255)
    annotated: bool

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(value := given.get("value"), int):
            return {"precedence": value, "annotated": value != BACKGROUND} | given
        return given

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as red, green and blue, each 0 to 255."""
        red, green, blue = bytes.fromhex(self.colour.removeprefix("#"))
        return red, green, blue


class ClassScheme(_Frozen):
    """The classes of an installation.

    Attributes:
        classes: The classes that a model predicts, with the values 0, 1, 2, ... in this order: the index is the value.
            The first is background, the only one that annotators do not draw.
        unknown: The label of pixels that nobody judged, value 255. It wins over every class.
        foreground: Name of all classes except background together: the class of a binary head. By default "foreground",
            or with a single class besides background the name of that class.
    """

    classes: tuple[LabelClass, ...] = Field(min_length=2, max_length=_MAX_CLASSES)
    unknown: LabelClass = LabelClass(
        name="masked/unknown", value=UNKNOWN, colour="#6b7280", precedence=UNKNOWN, annotated=True
    )
    foreground: Name

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "foreground" in given:
            return given
        classes = given.get("classes")
        single = classes[1] if isinstance(classes, list | tuple) and len(classes) == 2 else None
        name = single.get("name") if isinstance(single, dict) else getattr(single, "name", None)
        return {"foreground": name or "foreground"} | given

    @model_validator(mode="after")
    def _check(self) -> "ClassScheme":
        values = [item.value for item in self.classes]
        if values != list(range(len(values))):
            raise ValueError(f"found the class values {values}; expected {list(range(len(values)))}, in this order")
        if self.unknown.value != UNKNOWN:
            raise ValueError(f"found the value {self.unknown.value} for {self.unknown.name!r}; expected {UNKNOWN}")
        undrawn = [item.name for item in self.legend if not item.annotated]
        if undrawn != [self.background.name]:
            raise ValueError(
                f"found {undrawn} as the classes that nobody draws; expected [{self.background.name!r}], "
                "the class of value 0"
            )
        _check_distinct("names", (item.name.casefold() for item in self.legend))
        _check_distinct("colours", (item.colour.lower() for item in self.legend))
        _check_distinct("precedences", (item.precedence for item in self.legend))
        ranked = sorted(self.legend, key=lambda item: item.precedence)
        if ranked[0] != self.background or ranked[-1] != self.unknown:
            raise ValueError(
                f"found the order of precedence {', '.join(item.name for item in ranked)}; expected "
                f"{self.background.name} first (any other class wins over it) and {self.unknown.name} last"
            )
        self._check_foreground()
        return self

    def _check_foreground(self) -> None:
        taken = {item.name.casefold() for item in self.legend}
        if len(self.classes) == 2:
            taken.discard(self.classes[1].name.casefold())
        if self.foreground.casefold() in taken:
            raise ValueError(
                f"found the name {self.foreground!r} for all classes but {self.background.name} together; expected "
                "another name than that of a single class"
            )

    @property
    def background(self) -> LabelClass:
        """The class of value 0."""
        return self.classes[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes by their value, background first."""
        return tuple(item.name for item in self.classes)

    @property
    def annotated(self) -> tuple[LabelClass, ...]:
        """The classes that annotators draw: all classes except background, and unknown."""
        return tuple(item for item in self.legend if item.annotated)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that annotators draw."""
        return tuple(item.name for item in self.annotated)

    @property
    def legend(self) -> tuple[LabelClass, ...]:
        """Every class whose value a label mask may hold."""
        return (*self.classes, self.unknown)

    @property
    def ranked(self) -> tuple[int, ...]:
        """Values of all classes but background, from the lowest to the highest precedence."""
        return tuple(item.value for item in sorted(self.classes[1:], key=lambda item: item.precedence))

    @property
    def outline_layer(self) -> str:
        """Name of the layer of predicted outlines, for instance ``glacier_outlines``."""
        return re.sub(r"\W+", "_", self.foreground) + "_outlines"

    def colours_of(self, names: Sequence[str]) -> dict[str, str]:
        """Return the colour of each class but the background, by its name.

        Args:
            names: Names of the classes of a model by value, background first. A binary model predicts background and
                foreground, which has the colour of the first class.
        """
        return {name: item.colour for name, item in zip(names[1:], self.classes[1:], strict=False)}

    def by_name(self, name: str) -> LabelClass:
        """Return the class with an exact name.

        Raises:
            ValueError: No class has this name.
        """
        for item in self.legend:
            if item.name == name:
                return item
        known = ", ".join(repr(item.name) for item in self.legend)
        raise ValueError(f"unknown class {name!r}; expected one of {known}")


CLEAN_ICE: Final = LabelClass(name="clean ice", value=1, colour="#38bdf8", precedence=1, annotated=True)
DEBRIS_COVERED_ICE: Final = LabelClass(
    name="debris-covered ice", value=2, colour="#f97316", precedence=2, annotated=True
)
GLACIER_SCHEME: Final = ClassScheme(
    classes=(
        LabelClass(name="background", value=BACKGROUND, colour="#1e293b", precedence=0, annotated=False),
        CLEAN_ICE,
        DEBRIS_COVERED_ICE,
    ),
    foreground="glacier",
)
"""The scheme of an installation that configures no other.

Only modules that are specific to glaciers (the Everest scene, synthetic glaciers, the experiments of the papers, the
demonstration) may use this scheme or its classes; `tests/test_architecture.py` lists them.
"""
