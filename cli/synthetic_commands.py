"""``glacier-al scene synthetic``: write a synthetic scene with known truth."""

import shlex
from pathlib import Path

import click

from cli.output import as_json, json_option, print_json, print_table
from cli.scene_options import file_with
from imagery.classes import CLEAN_ICE
from imagery.masks import OutlineLayer
from imagery.synthetic import SyntheticScene, write_scene, write_scene_on
from imagery.synthetic_pixels import SyntheticOptions
from imagery.synthetic_site import read_site, site_grid
from imagery.synthetic_surface import Shares
from imagery.synthetic_terrain import Sun

_DEFAULTS = SyntheticOptions()


class _Size(click.ParamType[tuple[int, int]]):
    """``ROWSxCOLS`` as a pair of whole numbers."""

    name = "ROWSxCOLS"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Parse the text; return a pair unchanged, since click also converts defaults."""
        if isinstance(value, tuple):
            return value
        rows, _, cols = value.partition("x")
        if not (rows.isdecimal() and cols.isdecimal()):
            self.fail(f"found {value!r}; expected ROWSxCOLS, e.g. 1000x1200", param, ctx)
        return int(rows), int(cols)


@click.command("synthetic")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--size", type=_Size(), default=(1024, 1024), show_default="1024x1024", help="pixels of 30 m")
@click.option("--seed", type=click.IntRange(0, (1 << 32) - 1), default=0, show_default=True)
@click.option(
    "--dem",
    type=click.Path(exists=True, dir_okay=False),
    help="real relief, in any CRS: the scene shows this ground, in its UTM zone; needs --outlines",
)
@click.option(
    "--outlines",
    multiple=True,
    metavar="[CLASS=]FILE[:LAYER]",
    help="real glacier outlines, in any CRS, clean ice unless another class is named; needs --dem. Without outlines of "
    "debris-covered ice, debris is placed on the lowest, flattest parts",
)
@click.option(
    "--clean",
    type=float,
    default=_DEFAULTS.shares.clean_ice,
    show_default=True,
    help="share of clean ice; with --outlines they tell it",
)
@click.option(
    "--debris",
    type=float,
    default=_DEFAULTS.shares.debris_covered_ice,
    show_default=True,
    help="share of debris; with --outlines of debris they tell it",
)
@click.option("--cloud", type=float, default=_DEFAULTS.shares.masked, show_default=True, help="share of cloud")
@click.option(
    "--sun",
    type=float,
    nargs=2,
    default=(_DEFAULTS.sun.azimuth_deg, _DEFAULTS.sun.elevation_deg),
    show_default=True,
    metavar="AZIMUTH ELEVATION",
    help="position of the sun in degrees",
)
@click.option("--scan-gaps", is_flag=True, help="add the scan-line gaps that Landsat 7 has since 2003")
@click.option(
    "--dem-resolution",
    type=float,
    default=_DEFAULTS.dem_resolution_m,
    show_default=True,
    help="pixel size of the DEM in metres",
)
@click.option(
    "--origin",
    type=float,
    nargs=2,
    show_default="480000 3110400, or so that the middle is that of --dem",
    metavar="EASTING NORTHING",
    help="upper left corner in UTM 45N, or in the zone of --dem; scenes of different roles must not overlap, so choose "
    "another corner for each",
)
@json_option
def synthetic(
    folder: Path,
    size: tuple[int, int],
    seed: int,
    dem: str | None,
    outlines: tuple[str, ...],
    clean: float,
    debris: float,
    cloud: float,
    sun: tuple[float, float],
    scan_gaps: bool,
    dem_resolution: float,
    origin: tuple[float, float] | None,
) -> None:
    """Write a synthetic Landsat 7 scene with known truth into FOLDER: bands, DEM, outlines.

    The relief is made up, or real with --dem and --outlines; the surfaces, shadow, cloud and noise are made up.
    """
    if (dem is None) != (not outlines):
        raise click.UsageError("found only one of --dem and --outlines; expected both or neither")
    try:
        options = SyntheticOptions(
            shares=Shares(0.0 if outlines else clean, debris, cloud),
            sun=Sun(*sun),
            scan_gaps=scan_gaps,
            dem_resolution_m=dem_resolution,
            origin_m=origin or _DEFAULTS.origin_m,
        )
        if dem is None:
            scene = write_scene(folder, *size, seed, options)
        else:
            layers = [_outline_layer(text) for text in outlines]
            scene = write_scene_on(folder, read_site(dem, layers, site_grid(dem, *size, origin)), seed, options)
    except ValueError as error:  # also of scenes, outlines, and names of classes
        raise click.UsageError(str(error)) from error
    _show(scene)


def _outline_layer(text: str) -> OutlineLayer:
    """Read ``[CLASS=]FILE[:LAYER]``; the class is clean ice unless named."""
    class_name, equals, rest = text.partition("=")
    if not equals or Path(text).is_file():
        class_name, rest = CLEAN_ICE.name, text
    file = file_with(rest, "layer")
    return OutlineLayer(file["path"], file.get("layer"), class_name)


def _show(scene: SyntheticScene) -> None:
    """Print the class shares, and the options of ``scene add`` that register the scene."""
    if as_json():
        described = {"shares": scene.shares, "bands": scene.bands, "outlines": scene.outlines, "dem": scene.dem.tiles}
        print_json(described | {"truth": scene.truth})
        return
    print_table(("class", "share"), [(name, f"{share:.1%}") for name, share in scene.shares.items()])
    options = [f"--band {band.name}={shlex.quote(band.path)}:{band.index}" for band in scene.bands]
    options += [
        f"--outlines {shlex.quote(f'{layer.class_name}={layer.path}:{layer.layer}')}" for layer in scene.outlines
    ]
    options.append(f"--dem {shlex.quote(scene.dem.tiles[0].path)}")
    click.echo("Register it with glacier-al scene add NAME --role ROLE and\n  " + " \\\n  ".join(options))
    click.echo(f"The truth as a label mask: {scene.truth}")
