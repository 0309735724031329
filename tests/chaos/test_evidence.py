"""Files without a row, and rows without a file, are evidence."""

from pathlib import Path

from catalog import labels
from catalog.context import Catalog
from chaos.evidence import all_files, compare_files
from imagery.store import checksum_file
from services.places import raster_store
from tests.catalog_fixtures import add_round, add_scene, label_of


def test_the_store_is_compared_with_the_rows(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        scene.outlines = [{"path": "/outlines.gpkg", "layer": "", "class": "clean ice"}]
        _, proposals = add_round(session, patches[:2])
        for number, proposal in enumerate(proposals, start=1):
            labels.store(session, label_of(session, proposal, number, mask_key=f"labels/{number}.tif"))
    store, root = raster_store(catalog), Path(catalog.settings.raster_store)
    for key in ("labels/1.tif", "labels/3.tif", "labels/4.tif", "scorings/9/patches.npy", "views/patch-1/rgb.png"):
        store.put(key, b"x")
    (root / "labels/4.tif").unlink()
    files = all_files(root)
    assert files == {"labels/1.tif", "labels/3.tif", checksum_file("labels/4.tif"), "scorings/9/patches.npy"} | {
        "views/patch-1/rgb.png"
    }
    assert compare_files(catalog, files) == (
        ["labels/3.tif", "labels/4.tif", "scorings/9/patches.npy"],
        ["labels/2.tif", "scenes/1/truth.tif"],
    )
