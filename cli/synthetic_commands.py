"""``glacier-al scene synthetic``: write a synthetic scene with known truth."""

import shlex
from pathlib import Path

import click

from cli.output import print_table
from imagery.errors import SceneError
from imagery.synthetic import SyntheticScene, write_scene
from imagery.synthetic_pixels import SyntheticOptions
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
@click.option("--clean", type=float, default=_DEFAULTS.shares.clean_ice, show_default=True, help="share of clean ice")
@click.option(
    "--debris", type=float, default=_DEFAULTS.shares.debris_covered_ice, show_default=True, help="share of debris"
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
    default=_DEFAULTS.origin_m,
    show_default=True,
    metavar="EASTING NORTHING",
    help="upper left corner in UTM 45N; scenes of different roles must not overlap, so choose another corner for each",
)
def synthetic(
    folder: Path,
    size: tuple[int, int],
    seed: int,
    clean: float,
    debris: float,
    cloud: float,
    sun: tuple[float, float],
    scan_gaps: bool,
    dem_resolution: float,
    origin: tuple[float, float],
) -> None:
    """Write a synthetic Landsat 7 scene with known truth into FOLDER: bands, DEM, outlines."""
    try:
        options = SyntheticOptions(
            shares=Shares(clean, debris, cloud),
            sun=Sun(*sun),
            scan_gaps=scan_gaps,
            dem_resolution_m=dem_resolution,
            origin_m=origin,
        )
        scene = write_scene(folder, *size, seed, options)
    except SceneError as error:
        raise click.UsageError(str(error)) from error
    _show(scene)


def _show(scene: SyntheticScene) -> None:
    """Print the class shares, and the options of ``scene add`` that register the scene."""
    print_table(("class", "share"), [(name, f"{share:.1%}") for name, share in scene.shares.items()])
    options = [f"--band {band.name}={shlex.quote(band.path)}:{band.index}" for band in scene.bands]
    options += [
        f"--outlines {shlex.quote(f'{layer.class_name}={layer.path}:{layer.layer}')}" for layer in scene.outlines
    ]
    options.append(f"--dem {shlex.quote(scene.dem.tiles[0].path)}")
    click.echo("Register it with glacier-al scene add NAME --role ROLE and\n  " + " \\\n  ".join(options))
    click.echo(f"The truth as a label mask: {scene.truth}")
