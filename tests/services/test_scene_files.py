"""What a request by HTTP may reach: files below one folder, with all that they name, and hosts that are allowed."""

from pathlib import Path

import numpy as np
import pytest

from imagery.errors import SceneError
from services.scene_files import AnyFile, BelowRoot, shown_as_named
from tests.imagery.forge import write_geotiff

VRT = (
    '<VRTDataset rasterXSize="40" rasterYSize="40"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
    '<SourceFilename relativeToVRT="0">{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
    "</VRTRasterBand></VRTDataset>"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A scene root with a product folder; beside it lies a file that is nobody's business."""
    (tmp_path / "scenes" / "product").mkdir(parents=True)
    for path in (tmp_path / "secret.tif", tmp_path / "scenes" / "product" / "B4.TIF"):
        write_geotiff(path, np.ones((1, 40, 40), np.uint8))
    return tmp_path / "scenes"


def test_folders_and_files_are_found_and_shown_as_they_are_named(root: Path) -> None:
    files = BelowRoot(root)
    assert files("product") == str(root / "product")
    assert files("product/B4.TIF") == str(root / "product" / "B4.TIF")
    assert files.shown(f"{root}/product/B4.TIF: found nothing") == "product/B4.TIF: found nothing"
    with pytest.raises(SceneError, match=r"^product/B4\.TIF: bad$"), shown_as_named(files):
        raise SceneError(f"{root}/product/B4.TIF: bad")


@pytest.mark.parametrize(
    "name", [".", "", "..", "../secret.tif", "product/../../secret.tif", "/etc", "a" * 300, "x\0y"]
)
def test_nothing_else_is_found(root: Path, name: str) -> None:
    with pytest.raises((SceneError, ValueError), match=r"found no file or folder|null"):
        BelowRoot(root)(name)


@pytest.mark.parametrize("target", ["secret.tif", "."])
@pytest.mark.parametrize("name", ["product", "product/LC08_MTL.txt"])
def test_a_link_in_a_product_must_not_lead_out(root: Path, target: str, name: str) -> None:
    (root / "product" / "LC08_MTL.txt").touch()
    (root / "product" / "B5.TIF").symlink_to(root.parent / target)
    with pytest.raises(SceneError, match=r"found the link 'product/B5\.TIF', which leads out of the scene root"):
        BelowRoot(root)(name)


def test_a_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "linked").symlink_to(root / "product")
    assert BelowRoot(root)("linked") == str(root / "product")
    (root / "product" / "B5.TIF").symlink_to(root / "product" / "B4.TIF")
    BelowRoot(root)("product")


@pytest.mark.parametrize("name", ["stack.vrt", "product"])
def test_a_virtual_raster_whatever_its_name_is_made_of_files_below_the_root(root: Path, name: str) -> None:
    for path in (root / "stack.vrt", root / "product" / "B5.TIF"):
        path.write_text(VRT.format(source=root.parent / "secret.tif"))
    with pytest.raises(SceneError, match="lies outside the scene root"):
        BelowRoot(root)(name)


@pytest.mark.parametrize(
    "path",
    [
        "{root}/../secret.tif",
        "/vsizip/{{root}/../outlines.zip}/a.tif",
        "/vsicurl/http://example.org/a.tif",
        "s3://bucket/a.tif",
        "file:///etc/passwd",
    ],
)
def test_a_product_names_only_files_below_the_root(root: Path, path: str) -> None:
    with pytest.raises(SceneError, match="among the files of the scene; expected files below the scene root"):
        BelowRoot(root).permit(path.replace("{root}", str(root)))


def test_members_of_archives_below_the_root_are_permitted(root: Path) -> None:
    member = f"/vsizip/{{{root}/a.zip}}/B4.TIF"
    assert BelowRoot(root).permit(member) == member


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("http://127.0.0.1:8080/item.json", True),
        ("https://data.example.org/item.json", True),
        ("https://data.example.org:444/item.json", True),
        ("http://127.0.0.1:9000/item.json", False),
        ("http://data.example.org@evil.example/item.json", False),
        ("http://user@data.example.org/item.json", False),
        ("http://evil.example/data.example.org", False),
        ("http://data.example.org.evil.example/", False),
    ],
)
def test_addresses_are_read_from_allowed_hosts_only(root: Path, address: str, *, allowed: bool) -> None:
    files = BelowRoot(root, ["127.0.0.1:8080", "data.example.org"])
    if allowed:
        assert files(address) == files.permit(address) == address
        return
    for take in (files, files.permit):
        with pytest.raises(SceneError, match=r"found the host .*GLACIER_AL_SCENE_HOSTS: 127\.0\.0\.1:8080, data"):
            take(address)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("http://data.exa\tmple.org/item.json", "characters that cannot be printed"),
        ("http://data.example.org/item.json\n", "characters that cannot be printed"),
        ("http://data.example.org/\udc80", "characters that cannot be printed"),
        ("http://data.example.org:port/item.json", "the address .* which is none"),
        ("http://data.example.org:99999/item.json", "the address .* which is none"),
        ("http://[data.example.org/item.json", "the address .* which is none"),
    ],
)
def test_addresses_that_parsers_read_differently_are_refused(root: Path, address: str, found: str) -> None:
    with pytest.raises(SceneError, match=f"found {found}"):
        BelowRoot(root, ["data.example.org"])(address)


def test_a_user_at_the_machine_may_name_every_file(root: Path) -> None:
    files = AnyFile()
    assert files(str(root / "product")) == str(root / "product")
    assert files("http://data.example.org/item.json") == "http://data.example.org/item.json"
    with pytest.raises(SceneError, match="found no file or folder missing"):
        files("missing")
