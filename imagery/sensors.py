"""Band tables of the sensors. A new sensor is a new table, not new code."""

from dataclasses import dataclass
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
        aliases: Designations of the band in other products of the sensor.
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


# Named as in Collection 2, then as in Collection 1. Their bits differ in meaning: train and predict on the same one.
_QA_PIXEL: Final = Band("quality", "QA_PIXEL", 30.0, None, stacked=False, aliases=("BQA",))

# Landsat 8's operational land imager and thermal sensor, and their copies on Landsat 9.
_OLI_TIRS: Final = (
    Band("coastal", "B1", 30.0, 0.440),
    Band("blue", "B2", 30.0, 0.480),
    Band("green", "B3", 30.0, 0.560),
    Band("red", "B4", 30.0, 0.655),
    Band("nir", "B5", 30.0, 0.865),
    Band("swir1", "B6", 30.0, 1.610),
    Band("swir2", "B7", 30.0, 2.200),
    Band("pan", "B8", 15.0, 0.590, stacked=False),
    Band("cirrus", "B9", 30.0, 1.370, stacked=False),
    Band("thermal1", "B10", 100.0, 10.895, stacked=False),
    Band("thermal2", "B11", 100.0, 12.005, stacked=False),
    _QA_PIXEL,
)

# Sources: USGS, "What are the band designations for the Landsat satellites?"; ESA, "Sentinel-2 MSI: spectral bands"
# (central wavelengths of Sentinel-2A); for the quality bands USGS, "What files are included in a Landsat Collection 1
# Level-1 data product?" and "Landsat Collection 2 Quality Assessment Bands". Band 6 of ETM+ is acquired once and
# delivered at two gains; the scenes of Baraka et al. are of Collection 1. Band 10 of Sentinel-2 is used up by
# atmospheric correction, so surface reflectance products lack it.
SENSORS: Final[dict[str, tuple[Band, ...]]] = {
    "landsat-5-tm": (
        Band("blue", "B1", 30.0, 0.485),
        Band("green", "B2", 30.0, 0.560),
        Band("red", "B3", 30.0, 0.660),
        Band("nir", "B4", 30.0, 0.830),
        Band("swir1", "B5", 30.0, 1.650),
        Band("thermal", "B6", 120.0, 11.450),
        Band("swir2", "B7", 30.0, 2.215),
        _QA_PIXEL,
    ),
    "landsat-7-etm+": (
        Band("blue", "B1", 30.0, 0.485),
        Band("green", "B2", 30.0, 0.560),
        Band("red", "B3", 30.0, 0.660),
        Band("nir", "B4", 30.0, 0.835),
        Band("swir1", "B5", 30.0, 1.650),
        Band("thermal_low", "B6_VCID_1", 60.0, 11.450),
        Band("thermal_high", "B6_VCID_2", 60.0, 11.450),
        Band("swir2", "B7", 30.0, 2.220),
        Band("pan", "B8", 15.0, 0.710, stacked=False),
        Band("quality", "BQA", 30.0, None, stacked=False, aliases=("QA_PIXEL",)),
    ),
    "landsat-8-oli": _OLI_TIRS,
    "landsat-9-oli-2": _OLI_TIRS,
    "sentinel-2-msi": (
        Band("coastal", "B1", 60.0, 0.4427),
        Band("blue", "B2", 10.0, 0.4924),
        Band("green", "B3", 10.0, 0.5598),
        Band("red", "B4", 10.0, 0.6646),
        Band("rededge1", "B5", 20.0, 0.7041),
        Band("rededge2", "B6", 20.0, 0.7405),
        Band("rededge3", "B7", 20.0, 0.7828),
        Band("nir", "B8", 10.0, 0.8328),
        Band("nir_narrow", "B8A", 20.0, 0.8647),
        Band("water_vapour", "B9", 60.0, 0.9451),
        Band("cirrus", "B10", 60.0, 1.3735, stacked=False),
        Band("swir1", "B11", 20.0, 1.6137),
        Band("swir2", "B12", 20.0, 2.2024),
    ),
}

# Further bands of flags and categories: saturation, cloud and aerosol of Landsat Collection 2 (USGS, as above), the
# scene classification of Sentinel-2 (ESA), and its cloud flags as named in Earth Engine.
_OTHER_FLAGS: Final = ("QA_RADSAT", "SR_CLOUD_QA", "SR_QA_AEROSOL", "SCL", "QA60")
_FLAGS: Final = frozenset(
    name.lower()
    for names in (
        _OTHER_FLAGS,
        *((band.name, *band.field_names) for bands in SENSORS.values() for band in bands if band.centre_um is None),
    )
    for name in names
)


def holds_flags(band_name: str) -> bool:
    """Return whether a band of this name (ours or a sensor's) holds bit flags or categories, which have no mean."""
    return band_name.lower() in _FLAGS


def sensor_bands(sensor: str) -> tuple[Band, ...]:
    """Return the band table of a sensor, in the order in which its bands are stacked.

    Raises:
        SceneError: The sensor has no table.
    """
    if sensor not in SENSORS:
        raise SceneError(f"unknown sensor {sensor!r}; expected one of {', '.join(sorted(SENSORS))}")
    return SENSORS[sensor]
