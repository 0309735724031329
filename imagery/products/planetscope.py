"""PlanetScope scenes as Planet delivers them: surface reflectance of 4 or 8 bands, and the mask of unusable pixels.

The network's bands may be missing, as no PlanetScope satellite sees short-wave infrared: that is checked with the other
scenes, not here.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from imagery.errors import SceneError
from imagery.products.bundle import bands_in_file, notes_on_names
from imagery.products.headers import check_tags, choose_scaling
from imagery.products.listing import Listing
from imagery.products.product import Product, left_files, level_of_bands, unique
from imagery.radiometry import PLANETSCOPE_SURFACE
from imagery.raster_file import open_raster
from imagery.scene_source import BandSource, QualityBand
from imagery.sensors import FLAG_TABLE_OF, names_of
from imagery.units import Level

# Planet, "PSScene": time of acquisition, hundredths of seconds, satellite, processing level, asset. Clipped by its
# tools, files end with "_clip".
_NAME: Final = re.compile(
    r"(?P<id>(?P<moment>\d{8}_\d{6})(?:_\d\d)?_[0-9a-z]{4})_(?:1B|3A|3B)_(?P<asset>AnalyticMS(?P<surface>_SR)?(?:_8b)?"
    r"(?P<harmonized>_harmonized)?|(?:AnalyticMS(?:_8b)?_)?(?:DN_)?(?P<mask>udm2?))(?P<cut>_clip|_file_format)?\.tiff?$",
    re.IGNORECASE,
)
_SENSORS: Final = {4: "planetscope-4-band", 8: "planetscope-8-band"}
# Planet, "UDM 2": the bands of the mask, in their order.
_MASK_BANDS: Final = ("clear", "snow", "shadow", "light_haze", "heavy_haze", "cloud", "confidence", "udm1")
_OTHER_WORDS: Final = {"unusable_data": "udm1", "unusable": "udm1", "udm": "udm1"}


@dataclass(frozen=True)
class _File:
    """A raster of a scene.

    Attributes:
        path: What opens it.
        label: What to call it in messages.
        match: What its name says.
    """

    path: str
    label: str
    match: re.Match[str]


def planetscope_id(name: str) -> str | None:
    """Return the scene's name in that of a file; None if it is not PlanetScope's."""
    match = _NAME.match(name)
    return match["id"] if match else None


def recognise_planetscope(listing: Listing, only: str | None = None) -> Product | None:
    """Return the PlanetScope scene in a folder or archive, or None if there is none.

    Surface reflectance is stored x 1e-4, harmonised to Sentinel-2 or not. Radiances (..._AnalyticMS.tif) are not read.

    Args:
        listing: The files.
        only: The member that is the image, if only its scene is meant.

    Raises:
        SceneError: There are several scenes or images, or no surface reflectance; or its bands cannot be told.
    """
    files = [
        _File(listing.path(member), member, match)
        for member in listing.members
        if (match := _NAME.match(member.rpartition("/")[2]))
    ]
    if only is not None:
        wanted = planetscope_id(only.rpartition("/")[2])
        files = [file for file in files if file.match["id"] == wanted and (file.match["mask"] or file.label == only)]
    if not files:
        return None
    images = [file for file in files if file.match["surface"]]
    scenes = sorted({file.match["id"] for file in files})
    if len(scenes) > 1 or len(images) > 1:
        found = ", ".join(file.label for file in images or files)
        raise SceneError(
            f"{listing.root}: found {found}; expected one image of one scene: give the file instead of the folder, or "
            "put each scene into its own folder"
        )
    if not images:
        raise SceneError(
            f"{listing.root}: found {', '.join(file.label for file in files)}, without surface reflectance "
            f"({scenes[0]}_3B_AnalyticMS_SR.tif); expected it: order the asset ortho_analytic_4b_sr or _8b_sr, as the "
            "radiances of ..._AnalyticMS.tif differ in scale from scene to scene"
        )
    (image,) = images
    known = {file.label for file in files}
    others = [] if only is not None else [member for member in listing.members if member not in known]
    return _product(image, [file for file in files if file.match["mask"]], others)


def recognise_file(path: str) -> Product | None:
    """Return the scene of an image of surface reflectance, with the mask beside it; None if the file is none.

    Raises:
        SceneError: As `recognise_planetscope`.
    """
    file = Path(path).absolute()
    match = _NAME.match(file.name)
    if match is None or not match["surface"]:
        return None
    beside = sorted(item.name for item in file.parent.iterdir() if planetscope_id(item.name) == match["id"])
    return recognise_planetscope(Listing(str(file), file.stem, tuple(beside), f"{file.parent}/"), only=file.name)


def _product(image: _File, masks: Sequence[_File], others: Sequence[str]) -> Product:
    with open_raster(image.path) as dataset:
        count = dataset.count
    sensor = _SENSORS.get(count)
    if sensor is None:
        raise SceneError(f"{image.path}: found {count} bands; expected 4 or 8 of PlanetScope")
    table = names_of(sensor)
    located = bands_in_file(image.path, sensor)
    named = [(item, table.get(item.designation.lower(), "")) for item in located]
    unknown = [item.designation for item, name in named if not name]
    if unknown or len({name for _, name in named}) < count:
        raise SceneError(
            f"{image.path}: found the bands {', '.join(item.designation for item in located)}; expected those of "
            f"{sensor}: {', '.join(dict.fromkeys(table.values()))}"
        )
    notes: list[str | None] = [*notes_on_names(named, sensor)]
    bands: list[BandSource] = []
    for item, name in named:
        with open_raster(item.path) as dataset:
            scaling, found = choose_scaling(dataset, item.index, PLANETSCOPE_SURFACE, constant=True)
        notes += found
        bands.append(scaling.band(name, item.path, item.index))
    check_tags(bands)
    quality, left_out, found = _quality(masks, image)
    notes += found
    if not quality:
        notes.append(f"{image.match['id']}: found no ..._udm2.tif, so clouds and shadows are not masked")
    acquired = None
    with suppress(ValueError):
        acquired = datetime.strptime(image.match["moment"], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    harmonized = ", harmonised to Sentinel-2" if image.match["harmonized"] else ""
    return Product(
        kind=f"PlanetScope surface reflectance{harmonized}",
        sensor=sensor,
        level=level_of_bands(Level.SURFACE, bands),
        acquired=acquired,
        bands=tuple(bands),
        quality=tuple(quality),
        product_id=image.match["id"],
        notes=unique(notes),
        left_out=(*left_out, *left_files(others)),
    )


def _quality(masks: Sequence[_File], image: _File) -> tuple[list[QualityBand], list[tuple[str, str]], list[str]]:
    """Return the bands of flags, what is not used of the masks with the reason, and notes.

    Of several masks the newest counts; of two that are as new, one that covers what the image does, whole or clipped.
    """
    quality: list[QualityBand] = []
    left_out: list[tuple[str, str]] = []
    notes: list[str] = []
    best_first = sorted(masks, key=lambda file: (not _is_udm2(file), file.match["cut"] != image.match["cut"]))
    used: _File | None = None
    for file in best_first:
        if used is not None:
            older = "an older mask of unusable pixels, beside a newer one"
            same = f"a further mask of the same kind as {used.label}, which is used"
            left_out.append((file.label, same if _is_udm2(file) == _is_udm2(used) else older))
            continue
        names = _mask_bands(file, notes) if _is_udm2(file) else ["udm1"]
        if not names:
            left_out.append((file.label, f"a mask whose bands are not those of UDM 2 ({', '.join(_MASK_BANDS)})"))
        for index, name in enumerate(names, start=1):
            designation = name if name == "udm1" else f"udm2_{name}"
            if table := FLAG_TABLE_OF.get(designation):
                quality.append(QualityBand(designation, file.path, index, table))
                used = file
            else:
                left_out.append((f"{file.label}, band {index} ({name})", "flags that are not used"))
    return quality, left_out, notes


def _is_udm2(file: _File) -> bool:
    return file.match["mask"].lower() == "udm2"


def _mask_bands(file: _File, notes: list[str]) -> list[str]:
    """Return what each band of a mask is, by its descriptions or else by Planet's order; none if they are others."""
    with open_raster(file.path) as dataset:
        texts = [(text or "").strip().lower().replace(" ", "_") for text in dataset.descriptions]
        texts = [_OTHER_WORDS.get(text, text) for text in texts]
    if set(texts) <= set(_MASK_BANDS) and len(set(texts)) == len(texts):
        return texts
    if any(texts) or len(texts) != len(_MASK_BANDS):
        return []
    notes.append(f"{file.label}: its bands have no names; taken in Planet's order: {', '.join(_MASK_BANDS)}")
    return list(_MASK_BANDS)
