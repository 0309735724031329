"""Options of ``glacier-al scene add`` and ``replace``, and the grammar of their values."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

BAND_HELP: Final = "NAME=FILE[:INDEX], e.g. nir=B4.TIF or red=rgb.tif:1; repeatable, instead of PATH"
CHANNEL_HELP: Final = (
    "a further channel, NAME=FILE[:INDEX][,unit=U][,nodata=N][,scale=S][,offset=O], e.g. "
    "coherence=coh.tif,unit=1,nodata=-1; repeatable"
)
DEM_HELP: Final = (
    "elevation, FILE[:INDEX][,unit=U][,nodata=N][,scale=S][,offset=O], of any resolution and CRS, in metres unless it "
    "says otherwise; repeatable: tiles, the most trusted first"
)
BORDER_HELP: Final = "FILE[:LAYER] of polygons; pixels outside them count as unknown, e.g. country.gpkg:border"
OUTLINES_HELP: Final = (
    "[CLASS=]FILE[:LAYER], e.g. 'clean ice=outlines.gpkg:clean_ice'; without a class it is recognised and shown; "
    "repeatable"
)
PRIOR_HELP: Final = (
    "outlines of an earlier inventory, to learn from as weak labels, of a pool scene; given and recognised as "
    "--outlines; repeatable"
)
MAP_HELP: Final = "VALUE=CLASS of --class-field, e.g. 'Debris covered=debris-covered ice'; repeatable"
MASK_HELP: Final = (
    "flag that makes a pixel unknown, e.g. cloud, or 'none'; repeatable; instead of the setting masked_flags"
)

_STATEMENTS: Final = re.compile(r"(?P<rest>.*),(?P<key>unit|nodata|scale|offset)=(?P<value>[^,]*)", re.DOTALL)

Command = TypeVar("Command", bound=Callable[..., None])


def scene_options(command: Command) -> Command:
    """Add the options that describe a scene to a command, which takes them as keyword arguments for `to_request`."""
    for option in reversed(
        [
            click.option("--file", "file", help="the same as PATH, where the scene is named by its argument"),
            click.option("--band", "bands", multiple=True, help=BAND_HELP),
            click.option("--sensor", help="sensor, where the product does not tell it, e.g. landsat-7-etm+"),
            click.option("--acquired", help="when the image was taken: 2000-10-30, or 2000-10-30T04:41:00Z"),
            click.option(
                "--unit",
                type=click.Choice(["reflectance", "digital number"]),
                help="what the bands hold, where nothing tells it; 'digital number' keeps stored numbers in any case",
            ),
            click.option(
                "--level",
                type=click.Choice(["surface", "top of atmosphere"]),
                help="what reflectances refer to, where the product does not tell it",
            ),
            click.option("--allow-mixed-levels", is_flag=True, help="take a scene of another level than the others"),
            click.option("--outlines", multiple=True, help=OUTLINES_HELP),
            click.option("--class-field", help="attribute that tells the class of each feature of --outlines"),
            click.option("--map", "class_map", multiple=True, help=MAP_HELP),
            click.option("--outlines-from", help="only --outlines of images of this day, month or year, or later"),
            click.option("--outlines-to", help="only --outlines of images of this day, month or year, or earlier"),
            click.option("--prior-outlines", multiple=True, help=PRIOR_HELP),
            click.option("--prior-class-field", help="as --class-field, of --prior-outlines"),
            click.option("--prior-map", "prior_class_map", multiple=True, help="as --map, of --prior-class-field"),
            click.option("--prior-outlines-from", help="as --outlines-from, of --prior-outlines"),
            click.option("--prior-outlines-to", help="as --outlines-to, of --prior-outlines"),
            click.option("--prior-date", help="when they were drawn from images: 2003-08-13 or 2003; default: guessed"),
            click.option("--prior-source", help="who drew them; default: guessed"),
            click.option(
                "--region",
                nargs=4,
                type=int,
                metavar="ROW COL HEIGHT WIDTH",
                help="a part of the files, in pixels of the one that sets the grid",
            ),
            click.option(
                "--nodata", type=float, help="stored number that means no data, besides what the files declare"
            ),
            click.option("--mask", "masked", multiple=True, help=MASK_HELP),
            click.option("--channel", "channels", multiple=True, help=CHANNEL_HELP),
            click.option("--dem", multiple=True, help=DEM_HELP),
            click.option("--allow-partial-dem", is_flag=True, help="take a DEM that covers only a part of the scene"),
            click.option("--border", help=BORDER_HELP),
            click.option("--patch-size", type=int, help="side of a patch in pixels"),
        ]
    ):
        command = option(command)
    return command


def to_request(name: str | None, role: str, path: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that options make up.

    Args:
        name: Name of the scene, or None: that of the product.
        role: Its role.
        path: A product's folder, archive or file.
        given: The values of `scene_options`.

    Raises:
        click.UsageError: An option is malformed, or tells classes of outlines that are not named.
    """
    region = given["region"]
    return {
        "name": name,
        "role": role,
        "path": path,
        "bands": [named(text, "index", BAND_HELP) for text in given["bands"]] or None,
        "sensor": given["sensor"],
        "acquired": given["acquired"],
        "unit": given["unit"],
        "level": given["level"],
        "allow_mixed_levels": given["allow_mixed_levels"],
        "region": dict(zip(("row_off", "col_off", "height", "width"), region, strict=True)) if region else None,
        "nodata": given["nodata"],
        "channels": [channel(text) for text in given["channels"]],
        "masked": [flag for flag in given["masked"] if flag != "none"] if given["masked"] else None,
        "dem": [raster(text) for text in given["dem"]],
        "allow_partial_dem": given["allow_partial_dem"],
        "border": file_with(given["border"], "layer") if given["border"] else None,
        "outlines": _all_outlines("", given),
        "prior_outlines": _all_outlines("prior_", given),
        "prior_date": given["prior_date"],
        "prior_source": given["prior_source"],
        "patch_size_px": given["patch_size"],
    }


def named(text: str, third: str, expected: str) -> dict[str, Any]:
    """Read ``NAME=FILE[:THIRD]``."""
    key, equals, rest = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"found {text!r}, expected {expected}")
    return {"name": key, **file_with(rest, third)}


def channel(text: str) -> dict[str, Any]:
    """Read ``NAME=FILE[:INDEX][,KEY=VALUE]...``."""
    key, equals, rest = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"found {text!r}, expected {CHANNEL_HELP}")
    return {"name": key, **raster(rest)}


def raster(text: str) -> dict[str, Any]:
    """Read ``FILE[:INDEX][,KEY=VALUE]...``; what exists as a file as a whole is one, whatever its name."""
    stated: dict[str, Any] = {}
    while not _is_band_of_file(text) and (match := _STATEMENTS.fullmatch(text)):
        text, key, value = match["rest"], match["key"], match["value"]
        if key in stated:
            raise click.UsageError(f"found {key} twice after {text}; expected it once")
        stated[key] = value if key == "unit" else _number(key, value)
    return {**file_with(text, "index"), **stated}


def outlines(text: str, class_field: str | None, class_map: Mapping[str, str]) -> dict[str, Any]:
    """Read ``[CLASS=]FILE[:LAYER]``, with the field that tells the class and the classes of its values."""
    told = {"class_field": class_field, "classes": dict(class_map)} if class_field or class_map else {}
    if not _names_class(text):
        return {**file_with(text, "layer"), **told}
    class_name, _, rest = text.partition("=")
    return {"class": class_name, **file_with(rest, "layer"), **told}


def file_with(text: str, second: str) -> dict[str, Any]:
    """Read ``FILE[:SECOND]``. If TEXT as a whole is an existing file, its colon belongs to the name."""
    file, colon, last = text.rpartition(":")
    if Path(text).is_file() or not colon or "/" in last or "\\" in last:
        return {"path": text}
    if second == "layer" and last:
        return {"path": file, "layer": last}
    if second == "index" and last.isascii() and last.isdecimal():
        return {"path": file, "index": int(last)}
    if not Path(file).is_file():
        return {"path": text}
    expected = "a name of a layer" if second == "layer" else "the number of a band"
    raise click.UsageError(f"found {last!r} after the file {file} and a colon; expected {expected}")


def _all_outlines(prefix: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Read all outlines that are true of the scene, or the prior ones; a field tells classes of those without one.

    Where each names its class, the field is sent along, so that the contradiction is refused as it is over HTTP.
    """
    texts, class_field = given[f"{prefix}outlines"], given[f"{prefix}class_field"]
    class_map = dict(_mapping(text) for text in given[f"{prefix}class_map"])
    if (class_field or class_map) and not texts:
        options = [f"--{prefix}{name}".replace("_", "-") for name in ("class_field", "map", "outlines")]
        raise click.UsageError(f"found {options[0]} or {options[1]} without {options[2]}; expected both")
    period = {f"drawn_{end}": date for end in ("from", "to") if (date := given[f"{prefix}outlines_{end}"]) is not None}
    if period and not texts:
        option = f"--{prefix}outlines".replace("_", "-")
        raise click.UsageError(f"found {option}-from or {option}-to without {option}; expected both")
    lacking = any(not _names_class(text) for text in texts)
    return [
        (outlines(text, None, {}) if lacking and _names_class(text) else outlines(text, class_field, class_map))
        | period
        for text in texts
    ]


def _names_class(text: str) -> bool:
    """Return whether outlines begin with a class; a text that is the path of an existing file names none."""
    return "=" in text and not Path(text).is_file() and not Path(text.rpartition(":")[0]).is_file()


def _is_band_of_file(text: str) -> bool:
    """Return whether the text is an existing file, perhaps with the number of a band."""
    file, _, last = text.rpartition(":")
    return Path(text).is_file() or (last.isdecimal() and Path(file).is_file())


def _number(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise click.UsageError(f"found {key}={value}; expected a number") from error


def _mapping(text: str) -> tuple[str, str]:
    value, equals, class_name = text.rpartition("=")
    if not equals:
        raise click.UsageError(f"found {text!r}, expected {MAP_HELP}")
    return value, class_name
