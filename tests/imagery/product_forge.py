"""Small products as providers deliver them, with known truth: names, headers, tags and metadata as in real ones.

The ground has six surfaces whose reflectances are known; 96 x 96 pixels of 30 m (Landsat, HLS) or 20 m (Sentinel-2).
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from imagery.raster_file import open_raster
from imagery.scene_source import BandSource

SIDE = 96
SIX = ("blue", "green", "red", "nir", "swir1", "swir2")
# Rock, clean ice, debris, lake, ice in shade, vegetation: blue, green, red, nir, swir1, swir2.
_SURFACES = np.array(
    [
        (0.06, 0.08, 0.10, 0.18, 0.22, 0.17),
        (0.62, 0.60, 0.57, 0.48, 0.08, 0.06),
        (0.13, 0.15, 0.17, 0.20, 0.21, 0.18),
        (0.09, 0.10, 0.07, 0.03, 0.012, 0.01),
        (0.16, 0.13, 0.10, 0.06, 0.012, 0.01),
        (0.03, 0.06, 0.04, 0.32, 0.18, 0.09),
    ]
)
SURFACE = (np.arange(SIDE)[:, None] // 16 + np.arange(SIDE)[None, :] // 16) % 6
TRUTH: Mapping[str, NDArray[np.float64]] = {name: _SURFACES[SURFACE, index] for index, name in enumerate(SIX)}
FILL = np.broadcast_to(np.arange(SIDE)[None, :] < 8, (SIDE, SIDE))
SUN_DEG = 48.0
_SINE = math.sin(math.radians(SUN_DEG))

L1TP = "LC08_L1TP_140041_20181026_20200830_02_T1"
L2SP = "LC08_L2SP_140041_20181026_20200830_02_T1"
SAFE = "S2A_MSIL2A_20221015T045741_N0400_R119_T45RVL_20221015T082610"
HLS_L30 = "HLS.L30.T45RVL.2018299T044110.v2.0"
HLS_S30 = "HLS.S30.T45RVL.2022288T045741.v2.0"
OLI = {"B2": "blue", "B3": "green", "B4": "red", "B5": "nir", "B6": "swir1", "B7": "swir2"}
ETM = {"B1": "blue", "B2": "green", "B3": "red", "B4": "nir", "B5": "swir1", "B7": "swir2"}
MSI = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir1", "B12": "swir2"}


def stored(
    name: str, scale: float, offset: float, *, fill: float = 0, times: float = 1.0, dtype: str = "uint16"
) -> NDArray[Any]:
    """The stored numbers whose value is the true reflectance times `times`, with fill in the first 8 columns."""
    numbers = np.round((TRUTH[name] * times - offset) / scale) if scale != 1 else TRUTH[name] * times - offset
    return np.where(FILL, fill, numbers).astype(dtype)


def write(
    path: Path,
    array: NDArray[Any],
    *,
    size: float = 30.0,
    nodata: float | None = None,
    descriptions: Sequence[str] = (),
    scales: float | None = None,
    offsets: float | None = None,
    tags: Mapping[str, str] | None = None,
    driver: str = "GTiff",
    **options: Any,
) -> Path:
    """Write one band or a stack."""
    stack = array if array.ndim == 3 else array[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": driver, "count": len(stack), "height": stack.shape[1], "width": stack.shape[2]}
    place = {"crs": "EPSG:32645", "transform": Affine(size, 0, 470085, 0, -size, 3110415)}
    with rasterio.open(path, "w", **profile, **place, dtype=stack.dtype, nodata=nodata, **options) as file:
        file.write(stack)
        for index, text in enumerate(descriptions, start=1):
            file.set_band_description(index, text)
        if scales is not None:
            file.scales = (scales,) * len(stack)
        if offsets is not None:
            file.offsets = (offsets,) * len(stack)
        if tags:
            file.update_tags(**tags)
    return path


def values(band: BandSource) -> NDArray[np.float64]:
    """The band's values as its source says: stored x scale + offset, NaN where the file or the source says nodata."""
    with open_raster(band.path) as file:
        raw = file.read(band.index, masked=True).astype(np.float64).filled(np.nan)
    raw[raw == band.nodata] = np.nan
    return np.asarray(raw * band.scale + band.offset)


def check_truth(bands: Sequence[BandSource], tolerance: float, times: float = 1.0) -> None:
    """Compare the bands of known truth with it, on valid pixels, and the fill with NaN."""
    checked = 0
    for band in bands:
        if band.name in TRUTH:
            found = values(band)
            step = len(found) // SIDE
            np.testing.assert_allclose(
                found[::step, ::step][~FILL], TRUTH[band.name][~FILL] * times, atol=tolerance, err_msg=band.name
            )
            assert np.isnan(found[::step, ::step][FILL]).all(), band.name
            checked += 1
    assert checked >= 3


def qa_pixel() -> NDArray[np.uint16]:
    """QA_PIXEL of Collection 2: fill, clear land, and a cloud in the corner."""
    flags = np.where(FILL, 1, 21824)
    flags[:20, 20:40] = 22280
    return flags.astype(np.uint16)


def mtl(product: str, *, form: str = "txt", sun: float | None = SUN_DEG, bands: Sequence[str] = tuple(OLI)) -> str:
    """The metadata file of a product, in any of its three forms; Level-2 contains the groups of Level-1, too."""
    image = {"SPACECRAFT_ID": "LANDSAT_8", "DATE_ACQUIRED": "2018-10-26", "SCENE_CENTER_TIME": "04:41:10.1234560Z"}
    image |= {"CLOUD_COVER": "12.50"} | ({} if sun is None else {"SUN_ELEVATION": f"{sun:.8f}"})
    numbers = [band.removeprefix("B") for band in bands]
    first = {f"REFLECTANCE_MULT_BAND_{n}": "2.0000E-05" for n in numbers} | {
        f"REFLECTANCE_ADD_BAND_{n}": "-0.100000" for n in numbers
    }
    thermal = {"RADIANCE_MULT_BAND_10": "3.3420E-04", "RADIANCE_ADD_BAND_10": "0.10000"}
    groups: dict[str, dict[str, str]] = {"PRODUCT_CONTENTS": {"LANDSAT_PRODUCT_ID": product}, "IMAGE_ATTRIBUTES": image}
    if "_L2SP_" in product:
        groups["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = {
            f"REFLECTANCE_MULT_BAND_{n}": "2.75e-05" for n in numbers
        } | {f"REFLECTANCE_ADD_BAND_{n}": "-0.2" for n in numbers}
        groups["LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"] = {
            "TEMPERATURE_MULT_BAND_ST_B10": "0.00341802",
            "TEMPERATURE_ADD_BAND_ST_B10": "149.0",
        }
    groups["LEVEL1_RADIOMETRIC_RESCALING"] = first | thermal
    if form == "json":
        return json.dumps({"LANDSAT_METADATA_FILE": groups})
    if form == "xml":
        inner = "".join(
            f"<{group}>{''.join(f'<{key}>{value}</{key}>' for key, value in items.items())}</{group}>"
            for group, items in groups.items()
        )
        return f'<?xml version="1.0" encoding="UTF-8"?><LANDSAT_METADATA_FILE>{inner}</LANDSAT_METADATA_FILE>'
    lines = [
        line
        for group, items in groups.items()
        for line in (f"  GROUP = {group}", *(f'    {k} = "{v}"' for k, v in items.items()), f"  END_GROUP = {group}")
    ]
    return "\n".join(["GROUP = LANDSAT_METADATA_FILE", *lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


def landsat_level_1(folder: Path, *, form: str | None = "txt", sun: float | None = SUN_DEG) -> Path:
    """A Landsat 8 L1TP folder; without an MTL file if `form` is None."""
    for field, name in OLI.items():
        numbers = stored(name, 2e-5, -0.1, times=_SINE)
        write(folder / f"{L1TP}_{field}.TIF", numbers)
    write(
        folder / f"{L1TP}_B8.TIF", np.kron(stored("green", 2e-5, -0.1, times=_SINE), np.ones((2, 2), "uint16")), size=15
    )
    write(folder / f"{L1TP}_B10.TIF", np.full((SIDE, SIDE), 25000, np.uint16))
    write(folder / f"{L1TP}_QA_PIXEL.TIF", qa_pixel(), nodata=1)
    write(folder / f"{L1TP}_SZA.TIF", np.full((SIDE, SIDE), 4200, np.int16))
    if form:
        (folder / f"{L1TP}_MTL.{form}").write_text(mtl(L1TP, form=form, sun=sun))
    return folder


def landsat_level_2(folder: Path, *, metadata: bool = True) -> Path:
    """A Landsat 8 L2SP folder."""
    for field, name in OLI.items():
        write(folder / f"{L2SP}_SR_{field}.TIF", stored(name, 2.75e-5, -0.2), nodata=0)
    write(folder / f"{L2SP}_ST_B10.TIF", np.full((SIDE, SIDE), 35000, np.uint16), nodata=0)
    write(folder / f"{L2SP}_QA_PIXEL.TIF", qa_pixel(), nodata=1)
    write(folder / f"{L2SP}_SR_QA_AEROSOL.TIF", np.full((SIDE, SIDE), 96, np.uint8), nodata=1)
    if metadata:
        (folder / f"{L2SP}_MTL.txt").write_text(mtl(L2SP))
    return folder


def sentinel_xml(level: str, baseline: str, offset: int | None) -> str:
    """The product's metadata file, of Level-1C or Level-2A."""
    kind, quantification = ("BOA", "BOA_QUANTIFICATION_VALUE") if level == "2A" else ("RADIO", "QUANTIFICATION_VALUE")
    offsets = (
        ""
        if offset is None
        else "".join(f'<{kind}_ADD_OFFSET band_id="{i}">{offset}</{kind}_ADD_OFFSET>' for i in range(13))
    )
    return (
        f'<?xml version="1.0"?><n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD">'
        f"<n1:General_Info><Product_Info><PRODUCT_START_TIME>2022-10-15T04:57:41.024Z</PRODUCT_START_TIME>"
        f"<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE></Product_Info>"
        f'<Product_Image_Characteristics><{quantification} unit="none">10000</{quantification}>{offsets}'
        f"</Product_Image_Characteristics></n1:General_Info><n1:Quality_Indicators_Info>"
        f"<Cloud_Coverage_Assessment>31.25</Cloud_Coverage_Assessment></n1:Quality_Indicators_Info>"
        f"</n1:Level-{level}_User_Product>"
    )


def sentinel_2(parent: Path, *, name: str = SAFE, add: int = 1000, xml: str | None = None, ending: str = "jp2") -> Path:
    """A SAFE whose stored numbers are reflectance x 10,000 + `add`; Level-1C if the name says so."""
    safe = parent / f"{name}.SAFE"
    surface = "_MSIL2A_" in name
    images = safe / "GRANULE" / f"L{'2A' if surface else '1C'}_T45RVL_A038208_20221015T050322" / "IMG_DATA"
    sensed = name.split("_")[2]
    options = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"} if ending == "jp2" else {}

    def numbers(band: str) -> NDArray[Any]:
        return stored(band, 1e-4, -add / 1e4)

    def raster(folder: str, field: str, array: NDArray[Any], size: int) -> None:
        suffix = f"_{size}m" if surface else ""
        where = images / (f"R{size}m" if surface else "")
        write(where / f"T45RVL_{sensed}_{field}{suffix}.{ending}", array, size=size, **options)

    for field, band in {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}.items():
        raster("R10m", field, np.kron(numbers(band), np.ones((2, 2), np.uint16)), 10)
    for field, band in {"B8A": "nir", "B11": "swir1", "B12": "swir2"}.items():
        raster("R20m", field, numbers(band), 20)
    raster("R60m", "B01", numbers("blue")[1::3, 1::3], 60)
    if surface:
        raster("R20m", "B02", numbers("blue"), 20)
        raster("R20m", "SCL", np.where(FILL, 0, np.where(SURFACE == 1, 11, 5)).astype(np.uint8), 20)
    else:
        raster("", "B10", numbers("blue")[1::3, 1::3], 60)
        quality = images.parent / "QI_DATA"
        write(quality / f"MSK_CLASSI_B00.{ending}", np.zeros((3, 32, 32), np.uint8), size=60, **options)
    if xml:
        (safe / f"MTD_MSIL{'2A' if surface else '1C'}.xml").write_text(xml)
        (images.parent / "MTD_TL.xml").write_text(
            "<t><Mean_Sun_Angle><ZENITH_ANGLE unit='deg'>41.5</ZENITH_ANGLE></Mean_Sun_Angle></t>"
        )
    return safe


def hls(folder: Path, product: str, bands: Mapping[str, str], *, tags: bool = True) -> Path:
    """A granule in files of one band."""
    for field, name in bands.items():
        numbers = stored(name, 1e-4, 0.0, fill=-9999, dtype="int16")
        items = (
            {"scale_factor": "0.0001", "add_offset": "0", "_FillValue": "-9999", "cloud_coverage": "7"}
            if tags
            else None
        )
        write(folder / f"{product}.{field}.tif", numbers, nodata=-9999, tags=items)
    write(folder / f"{product}.Fmask.tif", np.where(FILL, 255, 64).astype(np.uint8), nodata=255)
    write(folder / f"{product}.SZA.tif", np.full((SIDE, SIDE), 4200, np.uint16))
    return folder
