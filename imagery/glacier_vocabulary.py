"""Words by which published glacier outlines name their classes, for the glacier scheme.

Besides English there are the words of inventories in Spanish (the national inventory of Argentina), German, French and
Italian. Sources: the GLIMS description of fields (https://www.glims.org/MapsAndDocs/downloaded_field_desc.html) and its
information for data providers (https://nsidc.org/glims/information-glims-data-providers) for `line_type`; the clean-ice
and debris-covered outlines of ICIMOD's inventory of the Hindu Kush Himalaya, which name both in one field.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imagery.classes import BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE, UNKNOWN

WHOLE_GLACIER: Final = frozenset(
    {"glac bound", "glacier", "glaciers", "glacier boundary", "glacier ice", "ice"}
    | {"glaciar", "glaciares", "gletscher", "ghiacciaio", "ghiacciai"}
)
"""Values of outlines of whole glaciers: their ice is clean where no debris is outlined."""

_CLEAN: Final = (
    "clean ice, clean, ci, c, clean glacier, clean glacier ice, clean ice glacier, clean type, c type, bare ice, "
    "debris free, debris free ice, debris free glacier, exposed ice, snow and ice, white ice, "
    "descubierto, hielo descubierto, glaciar descubierto, hielo limpio, blankeis, schuttfrei, glace nue, glace propre, "
    "ghiaccio scoperto, ghiaccio pulito"
)
_DEBRIS: Final = (
    "debris, debris cover, debris covered, debris covered ice, debris covered glacier, debris covered glacier ice, "
    "debris mantled, debris mantled ice, debris ice, debris type, d type, dc, d, dci, dcg, dc ice, debris cov, "
    "supraglacial debris, supra debris, supraglacial debris cover, covered ice, "
    "cubierto, hielo cubierto, glaciar cubierto, hielo cubierto de detritos, schuttbedeckt, schuttbedecktes eis, "
    "glace couverte, glace couverte de débris, ghiaccio coperto, ghiaccio coperto di detrito"
)
_NO_ICE: Final = (
    "intrnl rock, internal rock, rock, rocks, bedrock, bare rock, rock outcrop, outcrop, nunatak, nunataks, land, "
    "non glacier, not glacier, no glacier, no ice, non ice, ice free, background, pro lake, proglacial lake, lake, "
    "glacial lake, water, vegetation, bare ground, soil"
)
_NOT_KNOWN: Final = "cloud, clouds, cloud shadow, no data, nodata, unknown, unclassified, masked, mask"

VALUES: Final[dict[str, int]] = {
    word: value
    for value, words in (
        (CLEAN_ICE.value, f"{_CLEAN}, {', '.join(sorted(WHOLE_GLACIER))}"),
        (DEBRIS_COVERED_ICE.value, _DEBRIS),
        (BACKGROUND, _NO_ICE),
        (UNKNOWN, _NOT_KNOWN),
    )
    for word in words.split(", ")
}
"""Value of an attribute, in the form of `normalise` -> value of the class."""

IGNORED: Final[dict[str, str]] = {
    word: reason
    for reason, words in (
        ("lies on the glacier, and takes the class around it", "supra lake, supraglacial lake, supraglacial pond"),
        ("is a line", "snowline, snow line, centerline, center line, centreline, centre line, flowline, divide"),
    )
    for word in words.split(", ")
}
"""Value of an attribute -> why its features are no outlines of a class."""

YES_NO: Final[dict[str, int]] = {
    **dict.fromkeys(("1", "yes", "y", "true", "t"), DEBRIS_COVERED_ICE.value),
    **dict.fromkeys(("0", "no", "n", "false", "f"), CLEAN_ICE.value),
}
"""Values of a field that says whether a glacier is covered by debris."""

_NO_YES: Final = {
    word: CLEAN_ICE.value if value == DEBRIS_COVERED_ICE.value else DEBRIS_COVERED_ICE.value
    for word, value in YES_NO.items()
}

_OF_INVENTORIES: Final = (
    "rgi_id o1region o2region glims_id anlys_id subm_id src_date utm_zone primeclass conn_lvl surge_type term_type "
    "glac_name is_rgi6 aspect_sec dem_source rgiid rgiflag glimsid glactype bgndate enddate status connect form "
    "termtype surging linkages name check_geom glac_id anlys_time line_type category proc_desc geog_area chief_affl "
    "loc_unc_x loc_unc_y glob_unc_x glob_unc_y glac_stat rec_status wgms_id local_id release_dt parent_id rc_id "
    "gone_date gone_dt_e analysts submitters gl_id src_time"
)
INVENTORY_FIELDS: Final = frozenset(_OF_INVENTORIES.split())
"""Fields of RGI 6, RGI 7 and GLIMS in lower case, apart from measures, none of which tells debris-covered ice."""

SCHEME: Final = {CLEAN_ICE.value: CLEAN_ICE.name, DEBRIS_COVERED_ICE.value: DEBRIS_COVERED_ICE.name}
"""Value -> name of the classes that a scheme must have for this vocabulary to apply."""

_DEBRIS_NAME: Final = re.compile(r"(^|[^a-z])(dc|debris\w*|supra ?glacial|sgd)([^a-z]|$)")
# Words that turn the meaning around, as in "no_debris" and "debrisfree".
_NEGATION: Final = re.compile(
    r"(?<![a-z])(?:no|non|not|without|excl\w*|ohne|sin|sans|senza)(?![a-z])|(?:(?<=debris)|(?<![a-z]))free(?![a-z])"
)
# Other classes, as in "clean_and_debris", and other things on the ice or beside it.
_OTHER_THING: Final = re.compile(
    r"(?<![a-z])(?:clean|bare|exposed|rocks?|lakes?|ponds?|water|streams?|channels?|flows?|fans?)(?![a-z])"
)
# The words of a field whose values yes and no, or 1 and 0, answer "covered by debris?"; shapefiles cut them off.
_ASKS: Final = re.compile(
    r"is|has|with|dc|sgd|debris(?:cov\w*|mantl\w*)?|cov\w*|mantled?|supra|supraglaci\w*|glacial|ice|glaciers?|flag|yn"
    r"|bool|present|presence|\d+"
)


@dataclass(frozen=True)
class Inventory:
    """A published inventory, recognised by its fields.

    Attributes:
        name: Its name.
        note: What its outlines tell, and what not.
    """

    name: str
    note: str


_TOTAL: Final = (
    "its outlines are of whole glaciers and do not tell debris-covered ice apart, so that all is taken as clean ice; "
    "add a layer of debris cover if there is one"
)


def normalise(text: str) -> str:
    """Write a value or a name in lower case, with single spaces instead of punctuation: "Clean_Ice" as "clean ice"."""
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def is_debris_name(name: str) -> bool:
    """Return whether the name of a layer or file says that it holds debris-covered ice ("S2_DC_2017").

    It does not where it also names another class or thing, or what is without debris ("glaciers_without_debris").
    """
    return _DEBRIS_NAME.search(normalise(name)) is not None and not is_doubtful_name(name)


def is_doubtful_name(name: str) -> bool:
    """Return whether a name speaks of debris, but not of debris-covered ice alone: "no_debris", "clean_and_debris"."""
    text = normalise(name)
    return _DEBRIS_NAME.search(text) is not None and (_NEGATION.search(text) or _OTHER_THING.search(text)) is not None


def answer_meanings(name: str) -> Mapping[str, int]:
    """Return what answers mean in a field of a name: normalised value -> value of the class.

    They are `YES_NO` where the name asks for debris ("debris", "is_debris_covered", "DC_2017"), the opposite where it
    asks for ice without it ("debris_free", "no_debris"), and nothing where it asks for something else, such as a share,
    an area or a source ("debris_pct", "dc_source").
    """
    text = normalise(name)
    asks, negations = _NEGATION.subn(" ", text)
    if not _DEBRIS_NAME.search(text) or not all(_ASKS.fullmatch(word) for word in asks.split()) or negations > 1:
        return {}
    return _NO_YES if negations else YES_NO


def recognise_inventory(fields: frozenset[str]) -> Inventory | None:
    """Recognise RGI and GLIMS by the names of their fields, given in lower case."""
    if "rgi_id" in fields:
        return Inventory("Randolph Glacier Inventory 7", _TOTAL)
    if "rgiid" in fields:
        return Inventory("Randolph Glacier Inventory (version 6 or earlier)", _TOTAL)
    if "line_type" in fields and ("glac_id" in fields or "anlys_id" in fields):
        return Inventory("GLIMS", "rock inside of glaciers is outlined separately (intrnl_rock), and cut out")
    if "glac_id" in fields:
        return Inventory("GLIMS", _TOTAL)
    return None
