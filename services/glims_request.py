"""What is known beside the outlines of a GLIMS submission: the model's map, the image, and the analysts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.context import Catalog
from catalog.errors import InvalidInputError
from catalog.records import Label, Scene, now
from imagery.classes import ClassScheme
from imagery.errors import ExportError
from imagery.glaciers import InventoryPart
from imagery.glims import ClassMapping, map_classes
from imagery.glims_check import FIRST_IMAGE
from imagery.glims_layers import Analyst, Image
from imagery.glims_outlines import MIN_AREA_KM2
from imagery.grid import Window
from imagery.outline_intervals import OutlineIntervals
from services.pseudonyms import pseudonym
from services.scenes import day_of, source_of

# Identifiers by which providers know an image: Landsat Collection 1 and 2, the scene identifier of earlier Landsat
# products, Sentinel-2, and HLS.
_PRODUCT: Final = re.compile(
    r"L[COTEM]0\d_L1[A-Z]{2}_\d{6}_\d{8}_\d{8}_\d{2}_[A-Z0-9]{2}"
    r"|L[COTEM]0\d_L2[A-Z]{2}_\d{6}_\d{8}_\d{8}_\d{2}_[A-Z0-9]{2}"
    r"|L[COTEM]\d{14}[A-Z]{3}\d{2}"
    r"|S2[A-D]_MSIL\w{2}_\d{8}T\d{6}_N\d{4}_R\d{3}_T\w{5}_\d{8}T\d{6}"
    r"|HLS\.[LS]30\.T\w{5}\.\d{7}T\d{6}\.v\d\.\d"
)
_SENSOR: Final = re.compile(r"(landsat|sentinel)-(\d)-(.+)")


@dataclass(frozen=True)
class Prediction:
    """The champion's map of a scene.

    Attributes:
        version: Number of the version.
        class_names: Names of its classes, background first.
        classes: (H, W) values.
        trained_on: Number of labels that it learnt from.
        outlines: The outlines delivered with the map, with the intervals of their areas.
    """

    version: int
    class_names: tuple[str, ...]
    classes: NDArray[np.uint8]
    trained_on: int
    outlines: OutlineIntervals | None = None


@dataclass(frozen=True)
class GlimsRequest:
    """What the user states beside the scene.

    Attributes:
        simulated: Whether labels of a simulated annotator count.
        waiting: Whether labels count of patches that wait for an annotator.
        analysts: Names of analysts.
        of_account: Name of an analyst by the e-mail address of the account.
        line_types: Line type, or "none", by name of the class, where the name does not tell it.
        min_area_km2: Smallest glacier.
        smoothing_px: Smoothing of the outlines in pixels.
        geolocation_m: Global uncertainty in metres; None: as the provider of the sensor's images states it.
        image_id: Identifier of the image; None: found in the names of the scene's files.
        instrument: Instrument; None: that of the scene's sensor.
        acquired: Day of the image; None: that of the scene.
        inventory: Glaciers along whose polygons connected ice is divided.
        inventory_name: Name of the inventory's file.
        window: Only glaciers that reach into it are outlined, whole; None: all.
    """

    simulated: bool = False
    waiting: bool = True
    analysts: tuple[Analyst, ...] = ()
    of_account: dict[str, Analyst] | None = None
    line_types: dict[str, str] | None = None
    min_area_km2: float = MIN_AREA_KM2
    smoothing_px: float = 0.0
    geolocation_m: float | None = None
    image_id: str | None = None
    instrument: str | None = None
    acquired: date | None = None
    inventory: InventoryPart = field(default_factory=InventoryPart)
    inventory_name: str = ""
    window: Window | None = None


def read_analysts(texts: Sequence[str]) -> tuple[tuple[Analyst, ...], dict[str, Analyst]]:
    """Read the names of analysts, "Surname, Given names, Affiliation", with "ACCOUNT=" before it or without.

    Returns:
        The names without an account, and the others by account.

    Raises:
        InvalidInputError: A text has no surname, or an account is there twice.
    """
    people: list[Analyst] = []
    of_account: dict[str, Analyst] = {}
    for text in texts:
        before, equals, after = text.partition("=")
        account = before.strip() if equals else None
        parts = [part.strip() for part in (after if equals else text).split(",", 2)]
        if not parts[0] or account == "":
            raise InvalidInputError(
                f"found the analyst {text!r}; expected 'Surname, Given names, Affiliation', perhaps after 'ACCOUNT='"
            )
        if account is None:
            people.append(Analyst(*parts))
        elif account.lower() in of_account:
            raise InvalidInputError(f"found the account {account!r} twice; expected one name for it")
        else:
            of_account[account.lower()] = Analyst(*parts)
    return tuple(people), of_account


def class_mapping(scheme: ClassScheme, predicted: Sequence[str], stated: Mapping[str, str]) -> ClassMapping:
    """Return the line types of the classes of labels and of a version, as stated, else by their names.

    Args:
        scheme: The classes of labels.
        predicted: The classes of the version, background first; empty without one.
        stated: Line type, or "none", by name of the class.

    Raises:
        ExportError: As `imagery.glims.map_classes`.
    """
    return map_classes(list(dict.fromkeys((*scheme.names[1:], *predicted[1:]))), dict(stated))


class AnalystNames:
    """Names of the analysts: as the user states them, else pseudonyms, else the model's."""

    def __init__(self, catalog: Catalog, request: GlimsRequest, prediction: Prediction | None) -> None:
        self._catalog = catalog
        self._stated = request.analysts
        self._of_account = {account.lower(): name for account, name in (request.of_account or {}).items()}
        self._model = Analyst(f"model version {prediction.version}" if prediction else "unknown")

    def of_session(self, labels: Sequence[Label]) -> tuple[Analyst, ...]:
        """Return all analysts, each once."""
        of_labels = dict.fromkeys(self._analyst(label) for label in labels)
        known = dict.fromkeys((*self._stated, *(person for person in of_labels if person is not None)))
        return tuple(known) or (self._model,)

    def listed(self, labels: Sequence[Label]) -> list[str]:
        """Return the names of all analysts."""
        return [str(person) for person in self.of_session(labels)]

    def of_glacier(self, judged: Sequence[Label], labels: Sequence[Label]) -> str:
        """Return who judged a part of a glacier; all analysts where nobody did, or where accounts are not named."""
        own = {self._analyst(label) for label in judged}
        people = self.listed(labels) if not own or None in own else sorted(str(person) for person in own)
        return "; ".join(people)

    def _analyst(self, label: Label) -> Analyst | None:
        """Return the analyst of a label; None if it is one of those whom the user names without their accounts."""
        named = self._of_account.get(label.annotator.lower())
        if named is None and self._stated and not label.simulated:
            return None
        return named or Analyst(pseudonym(self._catalog, label))


def image_of(scene: Scene, request: GlimsRequest) -> tuple[Image, bool]:
    """Return the image of a scene, and whether its identifier is only the scene's name.

    Raises:
        ExportError: Its day or its instrument is not known, or no image is of the day that is stated.
    """
    source = source_of(scene)
    if request.acquired is not None and not FIRST_IMAGE <= request.acquired <= now().date():
        raise ExportError(f"acquired: found {request.acquired}; expected a day from {FIRST_IMAGE} to today")
    acquired = request.acquired or day_of(scene)
    if acquired is None:
        raise ExportError(
            f"{scene.name}: found no day of the image; GLIMS needs it: state the option acquired, YYYY-MM-DD"
        )
    parts = _SENSOR.fullmatch(scene.sensor or "")
    instrument = request.instrument or (parts[3].upper() if parts else scene.sensor)
    if not instrument:
        raise ExportError(f"{scene.name}: found no sensor; GLIMS needs the instrument: state the option instrument")
    platform = f"{parts[1].capitalize()} {parts[2]}" if parts and not request.instrument else ""
    texts = [scene.name, *(raster.path for raster in source.bands)]
    found = next((match[0] for text in texts if (match := _PRODUCT.search(text))), None)
    image_id = request.image_id or found or scene.name
    grid = source.grid
    image = Image(image_id, instrument, platform, acquired, grid.footprint_wgs84(), grid.centre_wgs84())
    return image, request.image_id is None and found is None
