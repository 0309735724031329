"""What people and programs write of a band: words, a designation, a wavelength, as "SWIR 1 (1.6um)" or "B4 - Red"."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rasterio.io import DatasetReader

from imagery.sensors import SENSORS, names_of, sensor_bands

_NUMBER: Final = r"\d*\.?\d+"
_UNIT: Final = r"um|microns?|micromet(?:er|re)s?|nm|nanomet(?:er|re)s?"
# One wavelength, or the two ends of a band: with its unit, or as a decimal fraction, or alone in brackets.
_WAVELENGTH: Final = re.compile(
    rf"(?P<open>[(\[]\s*)?(?<![\w.])(?P<low>{_NUMBER})(?:\s*(?:-|\u2013|to)\s*(?P<high>{_NUMBER}))?\s*(?P<unit>{_UNIT})?(?![\w.])"
    r"(?P<close>\s*[)\]])?"
)
# A year or several in brackets, which tell when the pixels are from, not where in the spectrum.
_YEARS: Final = re.compile(r"[(\[]\s*(?:19|20)\d\d(?:\s*(?:-|\u2013|to)\s*(?:19|20)\d\d)?\s*[)\]]")
_BETWEEN: Final = re.compile(r"[\s\-\u2013:,;/()\[\]|]+")
# Band passes of the sensors differ by less: red is at 0.630 to 0.665, the first short-wave infrared at 1.61 to 1.65.
_TOLERANCE: Final = 0.06
_SHORTEST_UM, _LONGEST_UM = 0.35, 15.0
_LEAST_NM: Final = 1000 * _SHORTEST_UM
_COUNTER: Final = re.compile(r"\bband[ _]?\d{1,2}\b(?!\.\d)")
# Words that tell nothing of the band.
_IDLE: Final = frozenset({"", "band", "channel", "surface", "reflectance", "toa", "boa", "light", "visible"})
_SHORT_WAVE: Final = r"(?:swir|short ?wave ?(?:infra ?red|ir)|short ?wavelength ?infra ?red)"
_NEAR: Final = r"(?:near ?(?:infra ?red|ir)|nir)"
# Other words for our names; the first that fits. A space stands for any of space, hyphen and underscore.
_WORDS: Final[Mapping[str, str]] = {
    rf"{_SHORT_WAVE} ?([12])": r"swir\1",
    r"(?:vegetation )?red ?edge ?([123])": r"rededge\1",
    r"(?:thermal(?: infra ?red)?|tirs?) ?([12])": r"thermal\1",
    rf"narrow {_NEAR}|{_NEAR} narrow": "nir_narrow",
    _NEAR: "nir",
    r"coastal(?: aerosol)?|ultra ?blue|coastal blue": "coastal",
    r"panchromatic": "pan",
    r"water ?vapou?r": "water_vapour",
    r"thermal(?: infra ?red)?": "thermal",
}
# Words for one of several bands: the wavelength tells which.
_ONE_OF: Final[Mapping[str, tuple[str, ...]]] = {
    _SHORT_WAVE: ("swir1", "swir2"),
    r"(?:vegetation )?red ?edge": ("rededge1", "rededge2", "rededge3"),
}


@dataclass(frozen=True)
class Description:
    """What a description of a band says.

    Attributes:
        words: Our names, or designations of a sensor, in lower case; empty if some word is not understood.
        wavelength_um: Its wavelength, or the middle of its band pass, in micrometres; None if it is not said.
    """

    words: tuple[str, ...]
    wavelength_um: float | None


def read_description(text: str) -> Description:
    """Return what a description says, whatever the sensor."""
    lower = text.strip().lower().replace("\u00b5", "u").replace("\u03bc", "u")
    lower = _COUNTER.sub(" ", _YEARS.sub(" ", lower))
    match = _WAVELENGTH.search(lower)
    while match is not None:
        if (found := _micrometres(match)) is not None:
            return Description(_words(f"{lower[: match.start()]} {lower[match.end() :]}", found), found)
        # What looks like the upper end of a band may be the lower one, behind a number: "5 - 1.55-1.75 um".
        match = _WAVELENGTH.search(lower, match.end("low"))
    return Description(_words(lower, None), None)


def meaning(text: str, table: Mapping[str, str], *, of_sensor: bool) -> str | None:
    """Return our name of a band by its description; None if it is not understood or means two bands.

    Args:
        text: The description.
        table: Our name by designations in lower case: those of a sensor, or only our names.
        of_sensor: Whether the table is that of the band's sensor, so that a word outside of it means no band of it.
    """
    words = read_description(text).words
    designated = {table[word] for word in words if word in table}
    if len(designated) != 1:
        return None
    (name,) = designated
    # "thermal" says less than "thermal1", and nothing else.
    strange = [word for word in words if word not in table and not name.startswith(word)]
    return None if of_sensor and strange else name


def band_wavelength(dataset: DatasetReader, index: int) -> float | None:
    """Return a band's wavelength in micrometres by the metadata of its file, else by its description; None without one.

    The metadata are GDAL's CENTRAL_WAVELENGTH_UM, or items `wavelength` and `wavelength_units` as ENVI has them.

    Args:
        dataset: An open dataset.
        index: The 1-based band index.
    """
    tags = {key.lower(): value for key, value in (dataset.tags(index) | dataset.tags(index, ns="IMAGERY")).items()}
    for name in ("central_wavelength_um", "central_wavelength", "center_wavelength", "wavelength"):
        if name in tags:
            unit = "um" if name.endswith("_um") else tags.get("wavelength_units", "")
            if (match := _WAVELENGTH.search(f"({tags[name].strip()} {unit.strip().lower()})")) is not None:
                return _micrometres(match)
    return read_description(dataset.descriptions[index - 1] or "").wavelength_um


def usual_wavelengths(name: str, sensor: str | None) -> tuple[float, float] | None:
    """Return the shortest and longest wavelength at which a band of a name lies, in micrometres; None if unknown.

    Args:
        name: Our name.
        sensor: A key of `imagery.sensors.SENSORS`; None: of any.
    """
    tables = [sensor_bands(sensor)] if sensor else SENSORS.values()
    centres = [band.centre_um for bands in tables for band in bands if band.name == name and band.centre_um]
    return (min(centres) * (1 - _TOLERANCE), max(centres) * (1 + _TOLERANCE)) if centres else None


def contradicts(name: str, sensor: str | None, wavelength_um: float | None) -> bool:
    """Return whether a band of a name cannot lie at a wavelength; not if either is unknown."""
    usual = usual_wavelengths(name, sensor)
    return usual is not None and wavelength_um is not None and not usual[0] <= wavelength_um <= usual[1]


def _micrometres(match: re.Match[str]) -> float | None:
    """Return the wavelength that a match of `_WAVELENGTH` tells; None if the number is none, such as that of a band."""
    low, unit = float(match["low"]), match["unit"] or ""
    high = float(match["high"]) if match["high"] else None
    is_fraction = "." in match["low"]
    if high is not None and (low >= high or (low < _LEAST_NM and not is_fraction and "." in match["high"])):
        return None  # the number of a band in front of a wavelength
    middle = low if high is None else (low + high) / 2
    if not unit and not is_fraction and not (match["open"] and match["close"]):
        return None
    if unit.startswith("n") or (not unit and middle >= _LEAST_NM):
        middle /= 1000
    elif not unit and not is_fraction:
        return None
    return middle if _SHORTEST_UM <= middle <= _LONGEST_UM else None


def _words(text: str, wavelength_um: float | None) -> tuple[str, ...]:
    """Return the names and designations that a text consists of, each once; empty if it holds anything else."""
    known = {word: word for sensor in SENSORS for word in names_of(sensor)}
    tokens = [token for token in _BETWEEN.split(text) if token not in _IDLE]
    words: list[str] = []
    while tokens:
        for length in range(min(4, len(tokens)), 0, -1):
            phrase = " ".join(tokens[:length])
            if word := _synonym(phrase.replace("_", " "), wavelength_um) or known.get(phrase):
                words.append(word)
                del tokens[:length]
                break
        else:
            return ()
    return tuple(dict.fromkeys(words))


def _synonym(phrase: str, wavelength_um: float | None) -> str | None:
    for pattern, name in _WORDS.items():
        if match := re.fullmatch(pattern, phrase):
            return match.expand(name)
    for pattern, names in _ONE_OF.items():
        if wavelength_um is not None and re.fullmatch(pattern, phrase):
            return _nearest(names, wavelength_um)
    return None


def _nearest(names: Sequence[str], wavelength_um: float) -> str | None:
    """Return the band that lies at a wavelength; None if none does, or another is less than twice as far from it."""
    away = {name: abs(wavelength_um - sum(usual_wavelengths(name, None) or ()) / 2) for name in names}
    first, second, *_ = sorted(names, key=away.__getitem__)
    return None if contradicts(first, None, wavelength_um) or away[second] < 2 * away[first] else first
