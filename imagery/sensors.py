"""Band tables of the sensors. A new sensor is a new table, not new code."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from imagery.errors import SceneError


@dataclass(frozen=True)
class Band:
    """One band of a sensor.

    Attributes:
        name: Our name for the band, the same for every sensor ("nir", "swir1", ...).
        field_name: The sensor's own designation, as in the delivered file names ("B4").
        resolution_m: Ground sampling distance as acquired, in metres.
        centre_um: Central wavelength in micrometres; None for the quality band, which is not a measurement.
        stacked: Whether the usual multi-band file of the sensor holds it (see `imagery.band_names.bands_of_file`).
        aliases: Designations of the band in other products of the sensor (USGS, ESA, HLS, Earth Engine, STAC).
    """

    name: str
    field_name: str
    resolution_m: float
    centre_um: float | None
    stacked: bool = True
    aliases: tuple[str, ...] = ()

    @property
    def field_names(self) -> tuple[str, ...]:
        """Every designation of the band, the usual one first."""
        return self.field_name, *self.aliases


def _landsat(
    name: str,
    number: int,
    resolution_m: float,
    centre_um: float,
    *aliases: str,
    stacked: bool = True,
    surface: bool = True,
) -> Band:
    """One band of a Landsat sensor, with its designations in HLS ("B04"), in STAC and in surface products ("SR_B4")."""
    derived = (f"SR_B{number}", f"sr_band{number}") if surface else ()
    return Band(
        name,
        f"B{number}",
        resolution_m,
        centre_um,
        stacked,
        tuple(dict.fromkeys(alias for alias in (f"B{number:02d}", *derived, *aliases) if alias != f"B{number}")),
    )


def _sentinel(
    name: str, number: str, resolution_m: float, centre_um: float, *aliases: str, stacked: bool = True
) -> Band:
    """One band of Sentinel-2, which Earth Engine calls "B2" and ESA "B02"."""
    field = f"B{number}"
    padded = f"B{number:0>2}"
    return Band(name, field, resolution_m, centre_um, stacked, tuple(a for a in (padded, *aliases) if a != field))


# Named as in Collection 2, then as in Collection 1. Their bits differ in meaning: train and predict on the same one.
_QA_PIXEL: Final = Band("quality", "QA_PIXEL", 30.0, None, stacked=False, aliases=("BQA",))

# Landsat 8's operational land imager and thermal sensor, and their copies on Landsat 9. Planetary Computer prefixes the
# designations with the instrument.
_OLI_TIRS: Final = (
    _landsat("coastal", 1, 30.0, 0.440, "OLI_B1", "coastal_aerosol"),
    _landsat("blue", 2, 30.0, 0.480, "OLI_B2"),
    _landsat("green", 3, 30.0, 0.560, "OLI_B3"),
    _landsat("red", 4, 30.0, 0.655, "OLI_B4"),
    _landsat("nir", 5, 30.0, 0.865, "OLI_B5", "nir08"),
    _landsat("swir1", 6, 30.0, 1.610, "OLI_B6", "swir16"),
    _landsat("swir2", 7, 30.0, 2.200, "OLI_B7", "swir22"),
    _landsat("pan", 8, 15.0, 0.590, "OLI_B8", stacked=False, surface=False),
    _landsat("cirrus", 9, 30.0, 1.370, "OLI_B9", stacked=False, surface=False),
    _landsat("thermal1", 10, 100.0, 10.895, "TIRS_B10", "lwir11", stacked=False, surface=False),
    _landsat("thermal2", 11, 100.0, 12.005, "TIRS_B11", "lwir12", stacked=False, surface=False),
    _QA_PIXEL,
)

# The thematic mapper of Landsat 4 and its copy on Landsat 5.
_TM: Final = (
    _landsat("blue", 1, 30.0, 0.485, "TM_B1"),
    _landsat("green", 2, 30.0, 0.560, "TM_B2"),
    _landsat("red", 3, 30.0, 0.660, "TM_B3"),
    _landsat("nir", 4, 30.0, 0.830, "TM_B4", "nir08"),
    _landsat("swir1", 5, 30.0, 1.650, "TM_B5", "swir16"),
    _landsat("thermal", 6, 120.0, 11.450, "TM_B6", "lwir", surface=False),
    _landsat("swir2", 7, 30.0, 2.215, "TM_B7", "swir22"),
    _QA_PIXEL,
)

# Sources: USGS, "What are the band designations for the Landsat satellites?"; ESA, "Sentinel-2 MSI: spectral bands"
# (central wavelengths of Sentinel-2A); for the quality bands USGS, "What files are included in a Landsat Collection 1
# Level-1 data product?" and "Landsat Collection 2 Quality Assessment Bands". Band 6 of ETM+ is acquired once and
# delivered at two gains; the scenes of Baraka et al. are of Collection 1. Band 10 of Sentinel-2 is used up by
# atmospheric correction, so surface reflectance products lack it.
SENSORS: Final[dict[str, tuple[Band, ...]]] = {
    "landsat-4-tm": _TM,
    "landsat-5-tm": _TM,
    "landsat-7-etm+": (
        _landsat("blue", 1, 30.0, 0.485, "ETM_B1"),
        _landsat("green", 2, 30.0, 0.560, "ETM_B2"),
        _landsat("red", 3, 30.0, 0.660, "ETM_B3"),
        _landsat("nir", 4, 30.0, 0.835, "ETM_B4", "nir08"),
        _landsat("swir1", 5, 30.0, 1.650, "ETM_B5", "swir16"),
        Band("thermal_low", "B6_VCID_1", 60.0, 11.450),
        Band("thermal_high", "B6_VCID_2", 60.0, 11.450),
        _landsat("swir2", 7, 30.0, 2.220, "ETM_B7", "swir22"),
        _landsat("pan", 8, 15.0, 0.710, stacked=False, surface=False),
        Band("quality", "BQA", 30.0, None, stacked=False, aliases=("QA_PIXEL",)),
    ),
    "landsat-8-oli": _OLI_TIRS,
    "landsat-9-oli-2": _OLI_TIRS,
    "sentinel-2-msi": (
        _sentinel("coastal", "1", 60.0, 0.4427),
        _sentinel("blue", "2", 10.0, 0.4924),
        _sentinel("green", "3", 10.0, 0.5598),
        _sentinel("red", "4", 10.0, 0.6646),
        _sentinel("rededge1", "5", 20.0, 0.7041, "rededge071"),
        _sentinel("rededge2", "6", 20.0, 0.7405, "rededge075"),
        _sentinel("rededge3", "7", 20.0, 0.7828, "rededge078"),
        _sentinel("nir", "8", 10.0, 0.8328),
        _sentinel("nir_narrow", "8A", 20.0, 0.8647, "nir08"),
        _sentinel("water_vapour", "9", 60.0, 0.9451, "nir09"),
        _sentinel("cirrus", "10", 60.0, 1.3735, stacked=False),
        _sentinel("swir1", "11", 20.0, 1.6137, "swir16"),
        _sentinel("swir2", "12", 20.0, 2.2024, "swir22"),
    ),
    # Planet, "PlanetScope instruments": the first generation (PS2), whose four bands the later ones deliver, too; and
    # SuperDove (PSB.SD). Bands are called by their descriptions.
    "planetscope-4-band": (
        Band("blue", "blue", 3.0, 0.485),
        Band("green", "green", 3.0, 0.545),
        Band("red", "red", 3.0, 0.630),
        Band("nir", "nir", 3.0, 0.820),
    ),
    "planetscope-8-band": (
        Band("coastal", "coastal_blue", 3.0, 0.443),
        Band("blue", "blue", 3.0, 0.490),
        Band("green1", "green_i", 3.0, 0.531),
        Band("green", "green", 3.0, 0.565),
        Band("yellow", "yellow", 3.0, 0.610),
        Band("red", "red", 3.0, 0.665),
        Band("rededge1", "rededge", 3.0, 0.705),
        Band("nir", "nir", 3.0, 0.865),
    ),
}

FLAG_TABLE_OF: Final[Mapping[str, str]] = {
    "qa_pixel": "landsat-c2-qa-pixel",
    "bqa": "landsat-c1-bqa",
    "bqa_pre_collection": "landsat-8-pre-collection-bqa",
    "pixel_qa": "landsat-c1-pixel-qa",
    "scl": "sentinel-2-scl",
    "msk_cldprb": "sentinel-2-cloud-probability",
    "cldprb": "sentinel-2-cloud-probability",
    "probability": "sentinel-2-cloud-probability",
    "cs": "cloud-score-plus",
    "cs_cdf": "cloud-score-plus",
    "qa60": "sentinel-2-qa60",
    "fmask": "hls-fmask",
    "cloud_mask": "cloud-mask",
    "cloudmask": "cloud-mask",
    "msk_classi_opaque": "sentinel-2-msk-classi",
    "msk_classi_cirrus": "sentinel-2-msk-classi-cirrus",
    "udm2_cloud": "planet-udm2-cloud",
    "udm2_heavy_haze": "planet-udm2-cloud",
    "udm2_light_haze": "planet-udm2-haze",
    "udm2_shadow": "planet-udm2-shadow",
    "udm2_snow": "planet-udm2-snow",
    "udm1": "planet-udm1",
}
"""How to decode a quality band: designation in lower case to key of `imagery.quality.FLAG_TABLES`.

The generations of Landsat have bands of one name with other bits: see `imagery.products.landsat_names.flag_table`.

Sources: USGS, "Landsat Collection 2 Quality Assessment Bands" and "Landsat Collection 1 Level-1 Quality Assessment
Band"; ESA, "Level-2A Algorithm Overview" (scene classification, cloud probability) and "Sentinel-2 Products
Specification Document" (MSK_CLASSI, from baseline 04.00); Earth Engine's catalogue (QA60, MSK_CLASSI_OPAQUE,
COPERNICUS/S2_CLOUD_PROBABILITY, Cloud Score+); "HLS Product User Guide" 2.0, table 9 (Fmask);
Planet, "Usable data masks" (UDM 2, each band of which is one flag).
"""

# Bands of flags and categories that are not decoded: saturation, aerosol, cloud of Landsat surface products (cloud is
# in QA_PIXEL too, with shadow), snow probability of Sentinel-2 and the snow part of its MSK_CLASSI, and 10 and 20 m
# masks of Earth Engine, which are empty.
_NOT_DECODED: Final = (
    "qa_radsat",
    "sr_cloud_qa",
    "sr_qa_aerosol",
    "msk_snwprb",
    "msk_classi",
    "msk_classi_snow_ice",
    "qa10",
    "qa20",
)
_FLAGS: Final = frozenset({"quality", *FLAG_TABLE_OF, *_NOT_DECODED})

SURFACE_TEMPERATURE: Final = "surface_temperature"
"""Name of the channel of Landsat's surface temperature in kelvin (ST_B6 of Landsat 4 to 7, ST_B10 of 8 and 9)."""
SURFACE_TEMPERATURE_FIELDS: Final = frozenset({"st_b6", "st_b10"})


def holds_flags(band_name: str) -> bool:
    """Return whether a band of this name (ours or a sensor's) holds bit flags or categories, which have no mean."""
    return band_name.lower() in _FLAGS


def sensor_bands(sensor: str) -> tuple[Band, ...]:
    """Return the band table of a sensor, in the order in which its bands are stacked.

    Raises:
        SceneError: The sensor has no table.
    """
    if sensor not in SENSORS:
        near = get_close_matches(sensor.lower(), SENSORS, cutoff=0.5)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise SceneError(f"unknown sensor {sensor!r}; expected one of {', '.join(sorted(SENSORS))}{hint}")
    return SENSORS[sensor]


def names_of(sensor: str) -> dict[str, str]:
    """Return our name of a band by each of its designations in lower case, our own name among them.

    Raises:
        SceneError: The sensor has no table.
    """
    return {text.lower(): band.name for band in sensor_bands(sensor) for text in (*band.field_names, band.name)}
