"""Virtual rasters that make a band of each file, as `gdalbuildvrt -separate` and QGIS do, without descriptions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from imagery.errors import SceneError
from imagery.products.recognise import recognise
from tests.imagery.product_forge import MSI, OLI, SIDE, check_truth, stored, write

# As QGIS lists the files of a folder: B8A comes after B12.
BY_NAME = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B11", "B12", "B8A")
_PART = f'xOff="0" yOff="0" xSize="{SIDE}" ySize="{SIDE}"'


def sentinel_2(folder: Path, ending: str = "") -> dict[str, Path]:
    """Write one file for each band of Sentinel-2; those of unknown truth hold 0.3."""
    dark = np.full((SIDE, SIDE), 3000, np.uint16)
    return {
        field: write(
            folder / f"T45RVL_20181015T045741_{field}{ending}.tif",
            stored(MSI[field], 1e-4, 0.0) if field in MSI else dark,
        )
        for field in BY_NAME
    }


def separate(path: Path, bands: Sequence[Sequence[Path]], descriptions: Sequence[str] = ()) -> Path:
    """Write a virtual raster of which each band is composed of the first bands of some files."""
    written = ""
    for index, files in enumerate(bands, start=1):
        described = f"<Description>{descriptions[index - 1]}</Description>" if descriptions else ""
        sources = "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{file.relative_to(path.parent)}</SourceFilename>'
            f"<SourceBand>1</SourceBand><SrcRect {_PART}/><DstRect {_PART}/></SimpleSource>"
            for file in files
        )
        written += f'<VRTRasterBand dataType="UInt16" band="{index}">{described}{sources}</VRTRasterBand>'
    path.write_text(
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>EPSG:32645</SRS>'
        f"<GeoTransform>470085, 30, 0, 3110415, 0, -30</GeoTransform>{written}</VRTDataset>"
    )
    return path


@pytest.mark.parametrize("ending", ["", "_clip"])
def test_bands_are_named_by_their_files_in_any_order(tmp_path: Path, ending: str) -> None:
    files = sentinel_2(tmp_path / "bands", ending)
    product = recognise(str(separate(tmp_path / "S2A_20181015.vrt", [[file] for file in files.values()])))
    check_truth(product.bands, 1e-4)
    named = {band.index: band.name for band in product.bands}
    assert {named[index] for index in (9, 10, 11, 12)} == {"water_vapour", "swir1", "swir2", "nir_narrow"}
    assert named[12] == "nir_narrow"
    assert any(f"band 12 is nir_narrow (T45RVL_20181015T045741_B8A{ending}.tif)" in note for note in product.notes)
    assert not any("by their places" in note for note in product.notes)


def test_a_band_may_be_a_mosaic_of_files_of_one_band(tmp_path: Path) -> None:
    halves = [sentinel_2(tmp_path / half) for half in ("west", "east")]
    bands = [[half[field] for half in halves] for field in MSI]
    check_truth(recognise(str(separate(tmp_path / "S2A_20181015.vrt", bands))).bands, 1e-4)


def test_descriptions_come_before_the_names_of_files(tmp_path: Path) -> None:
    files = sentinel_2(tmp_path / "bands")
    vrt = separate(tmp_path / "S2A_20181015.vrt", [[files["B02"]], [files["B03"]]], ("B03", "B02"))
    assert {band.name: band.index for band in recognise(str(vrt)).bands} == {"green": 1, "blue": 2}


def test_a_file_that_gives_several_bands_names_none(tmp_path: Path) -> None:
    """Landsat's six bands from one file that is called "red": they are taken by nothing but descriptions."""
    file = write(tmp_path / "LC08_red.tif", stored("red", 2e-5, -0.1))
    with pytest.raises(SceneError, match="found 6 bands without distinct descriptions"):
        recognise(str(separate(tmp_path / "LC08.vrt", [[file]] * len(OLI))))


def test_a_name_that_contradicts_the_place_is_refused_where_not_all_files_have_one(tmp_path: Path) -> None:
    files = sentinel_2(tmp_path / "bands")
    files["B02"] = files["B02"].rename(tmp_path / "bands" / "unknown.tif")
    vrt = separate(tmp_path / "S2A_20181015.vrt", [[file] for file in files.values()])
    with pytest.raises(SceneError, match=r"found band 9 described as 'B09', which is water_vapour, and by its place"):
        recognise(str(vrt))
