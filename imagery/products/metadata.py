"""Reading metadata files of products: XML and Landsat's MTL."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError  # types and errors only  # nosec B405

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from imagery.errors import SceneError

Groups = Mapping[str, Mapping[str, str]]
"""Values by the name of the innermost group and the key."""


def parse_xml(content: bytes, name: str) -> Element:
    """Return the root of an XML document; entities are refused.

    Raises:
        SceneError: It is not well-formed.
    """
    try:
        root: Element = fromstring(content)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise SceneError(f"{name}: found no readable XML ({error}); download the product again") from error
    return root


def local_name(element: Element) -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def elements(root: Element, name: str) -> Iterator[Element]:
    """Return all elements of a name, whatever their namespace and depth."""
    return (element for element in root.iter() if local_name(element) == name)


def text_of(root: Element, *names: str) -> str | None:
    """Return the text of the first element that has one of these names, or None."""
    for name in names:
        for element in elements(root, name):
            if element.text and element.text.strip():
                return element.text.strip()
    return None


def parse_mtl(content: bytes, name: str) -> Groups:
    """Parse Landsat's metadata file in any of its three forms (MTL.txt, MTL.json, MTL.xml).

    Groups matter: in a Level-2 file the Level-1 groups state REFLECTANCE_MULT_BAND_1 with another value.

    Raises:
        SceneError: It is in none of the forms.
    """
    text = content.decode("utf-8", "replace")
    groups: dict[str, dict[str, str]] = {}
    try:
        if name.lower().endswith(".json"):
            _gather("", json.loads(text), groups)
        elif name.lower().endswith(".xml"):
            for group in parse_xml(content, name).iter():
                values = {local_name(item): (item.text or "").strip() for item in group if len(item) == 0}
                groups.setdefault(local_name(group), {}).update(values)
        else:
            _parse_text(text, groups)
    except (ValueError, AttributeError, RecursionError) as error:
        raise SceneError(f"{name}: cannot be read as Landsat metadata ({error}); download it again") from error
    groups = {group: values for group, values in groups.items() if values}
    if not groups:
        raise SceneError(f"{name}: found no groups of values; expected Landsat's metadata (MTL): download it again")
    return groups


def _gather(group: str, values: Any, groups: dict[str, dict[str, str]]) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _gather(key, value, groups)
        else:
            groups.setdefault(group, {})[key] = str(value)


def _parse_text(text: str, groups: dict[str, dict[str, str]]) -> None:
    inside: list[str] = []
    for line in text.splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            inside.append(value)
        elif key == "END_GROUP":
            inside = inside[:-1]
        elif equals and inside:
            groups.setdefault(inside[-1], {})[key] = value.strip('"')


def moment(day: str | None, time: str | None = None) -> date | datetime | None:
    """Return a day, or a moment in UTC if the time is given or part of it, as providers write them; None if unreadable.

    Fractions of a second beyond microseconds are cut: Landsat states seven digits.
    """
    text = (day or "").strip().strip('"')
    if time:
        text = f"{text}T{time.strip().strip(chr(34))}"
    if not text:
        return None
    try:
        if "T" not in text and " " not in text:
            return date.fromisoformat(text[:10])
        base, dot, fraction = text.removesuffix("Z").partition(".")
        found = datetime.fromisoformat(base + (f".{fraction[:6]}" if dot and fraction.isdigit() else dot + fraction))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def number(value: str | None) -> float | None:
    """Return a finite number, or None if there is none."""
    try:
        found = float(value) if value is not None else None
    except ValueError:
        return None
    return found if found is not None and abs(found) < float("inf") else None
