"""PlanetScope's surface reflectance and masks, as Planet names and stores them; truth is that of `product_forge`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.products.recognise import recognise
from imagery.quality import mask_flags
from imagery.scene_reader import SceneReader
from imagery.units import DIGITAL_NUMBER, Level
from tests.imagery.product_forge import FILL, SIDE, check_truth, stored, write

ID = "20200816_053042_1020"
FOUR = ("blue", "green", "red", "nir")
EIGHT = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")
MASK = ("clear", "snow", "shadow", "light_haze", "heavy_haze", "cloud", "confidence", "unusable_data")
_LIKE = {"coastal_blue": "blue", "green_i": "green", "yellow": "red", "rededge": "nir"}
DEFAULT = ("fill", "cloud", "cloud shadow", "cirrus")


def image(folder: Path, bands: Sequence[str] = FOUR, *, asset: str = "AnalyticMS_SR", described: bool = True) -> Path:
    array = np.stack([stored(_LIKE.get(band, band), 1e-4, 0) for band in bands])
    return write(folder / f"{ID}_3B_{asset}.tif", array, size=3, nodata=0, descriptions=bands if described else ())


def mask(folder: Path, order: Sequence[str] = MASK, *, described: bool = True, name: str = "udm2") -> Path:
    """Rows 0 to 9 are cloud, 10 to 19 shadow, 20 to 29 snow, 30 to 39 heavy haze, 40 to 49 light haze."""
    flags = {text: np.zeros((SIDE, SIDE), np.uint8) for text in MASK}
    for row, text in enumerate(("cloud", "shadow", "snow", "heavy_haze", "light_haze")):
        flags[text][10 * row : 10 * row + 10] = 1
    flags["unusable_data"][FILL] = 1
    flags["unusable_data"][50:60, 40:] = 4  # the first band is suspect
    path = folder / f"{ID}_3B_{name}.tif"
    return write(path, np.stack([flags[text] for text in order]), size=3, descriptions=order if described else ())


@pytest.mark.parametrize(
    ("bands", "asset", "sensor", "kind"),
    [
        (FOUR, "AnalyticMS_SR", "planetscope-4-band", ""),
        (FOUR, "AnalyticMS_SR_harmonized_clip", "planetscope-4-band", ", harmonised to Sentinel-2"),
        (EIGHT, "AnalyticMS_SR_8b", "planetscope-8-band", ""),
        (EIGHT, "AnalyticMS_SR_8b_harmonized", "planetscope-8-band", ", harmonised to Sentinel-2"),
    ],
)
@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_a_scene_is_recognised_by_its_names(
    tmp_path: Path, bands: Sequence[str], asset: str, sensor: str, kind: str, described: bool, whole: bool
) -> None:
    file = image(tmp_path, bands, asset=asset, described=described)
    mask(tmp_path, described=described)
    product = recognise(str(tmp_path if whole else file))
    assert product.kind == f"PlanetScope surface reflectance{kind}"
    assert (product.sensor, product.level, product.product_id) == (sensor, Level.SURFACE, ID)
    assert product.acquired == datetime(2020, 8, 16, 5, 30, 42, tzinfo=UTC)
    eight = ["coastal", "blue", "green1", "green", "yellow", "red", "rededge1", "nir"]
    assert [band.name for band in product.bands] == (eight if bands is EIGHT else list(FOUR))
    check_truth(product.bands, 1e-4)
    assert any("by their places" in note for note in product.notes) is not described
    assert any("taken in Planet's order" in note for note in product.notes) is not described


@pytest.mark.parametrize("order", [MASK, MASK[::-1]])
def test_the_mask_makes_cloud_shadow_and_what_is_unusable_unknown(tmp_path: Path, order: Sequence[str]) -> None:
    image(tmp_path)
    mask(tmp_path, order)
    product = recognise(str(tmp_path))
    source = describe(product.bands, level=product.level, quality=mask_flags(product.quality, DEFAULT))
    with SceneReader(source) as reader:
        known = ~np.isnan(reader.read(["red"], Window(0, 0, SIDE, SIDE))[0])
    # Heavy haze is cloud; light haze and suspect bands are masked if asked for; snow never is.
    expected = ~FILL & ~np.isin(np.arange(SIDE)[:, None] // 10, (0, 1, 3))
    np.testing.assert_array_equal(known, expected)
    more = describe(product.bands, level=product.level, quality=mask_flags(product.quality, ("dropped",)))
    with SceneReader(more) as reader:
        known = ~np.isnan(reader.read(["red"], Window(0, 0, SIDE, SIDE))[0])
    assert not known[50:60, 40:].any()
    assert known[:50, 8:].all()
    assert [reason for _, reason in product.left_out] == ["flags that are not used"] * 2  # clear, confidence


def test_a_mask_of_other_bands_is_left_out_with_the_reason(tmp_path: Path) -> None:
    image(tmp_path)
    write(tmp_path / f"{ID}_3B_udm2.tif", np.ones((3, SIDE, SIDE), np.uint8), size=3)
    product = recognise(str(tmp_path))
    assert product.quality == ()
    ((label, reason),) = product.left_out
    assert (label, reason[:40]) == (f"{ID}_3B_udm2.tif", "a mask whose bands are not those of UDM ")
    assert f"{ID}: found no ..._udm2.tif, so clouds and shadows are not masked" in product.notes


def test_the_newer_of_two_masks_counts(tmp_path: Path) -> None:
    image(tmp_path)
    mask(tmp_path)
    write(tmp_path / f"{ID}_3B_AnalyticMS_DN_udm.tif", np.ones((SIDE, SIDE), np.uint8), size=3)
    product = recognise(str(tmp_path))
    assert {band.path.rpartition("/")[2] for band in product.quality} == {f"{ID}_3B_udm2.tif"}
    assert (
        f"{ID}_3B_AnalyticMS_DN_udm.tif",
        "an older mask of unusable pixels, beside a newer one",
    ) in product.left_out


@pytest.mark.parametrize("clipped", [True, False])
def test_of_a_whole_and_a_clipped_mask_that_of_the_image_counts(tmp_path: Path, clipped: bool) -> None:
    image(tmp_path, asset="AnalyticMS_SR_clip" if clipped else "AnalyticMS_SR")
    paths = {mask(tmp_path, name="udm2_clip").name, mask(tmp_path).name}
    product = recognise(str(tmp_path))
    used = f"{ID}_3B_udm2{'_clip' if clipped else ''}.tif"
    assert {band.path.rpartition("/")[2] for band in product.quality} == {used}
    (other,) = paths - {used}
    assert (other, f"a further mask of the same kind as {used}, which is used") in product.left_out


def test_radiances_and_several_images_are_refused(tmp_path: Path) -> None:
    radiance = tmp_path / "radiance"
    image(radiance, asset="AnalyticMS")
    mask(radiance)
    with pytest.raises(SceneError, match=r"without surface reflectance .*order the asset ortho_analytic_4b_sr"):
        recognise(str(radiance))
    two = tmp_path / "two"
    files = [image(two), image(two, asset="AnalyticMS_SR_harmonized")]
    with pytest.raises(SceneError, match="expected one image of one scene: give the file instead of the folder"):
        recognise(str(two))
    assert recognise(str(files[1])).bands[0].path == str(files[1])


def test_an_image_stretched_to_8_bits_is_not_scaled(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}_3B_AnalyticMS_SR.tif"
    write(path, np.full((4, SIDE, SIDE), 90, np.uint8), size=3, descriptions=FOUR)
    product = recognise(str(path))
    assert {(band.scale, band.unit) for band in product.bands} == {(1, DIGITAL_NUMBER)}
    assert any("holds uint8, and the product's numbers are uint16" in note for note in product.notes)


def test_bands_of_other_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}_3B_AnalyticMS_SR.tif"
    write(path, np.ones((4, SIDE, SIDE), np.uint16), size=3, descriptions=("blue", "green", "red", "swir1"))
    with pytest.raises(SceneError, match="found the bands blue, green, red, swir1; expected those of planetscope-4"):
        recognise(str(path))
