"""An installation for the checks of it: a pool scene with a label of which the ledger holds no drawing."""

from pathlib import Path

from catalog.context import Catalog
from imagery.store import RasterStore
from tests.catalog_fixtures import add_round, label_of
from tests.workers.rows import patches, tiled


def populate(catalog: Catalog, folder: Path) -> None:
    """Add the rows and files, and restrict the data folder to its owner; the scene's file is ``a.tif`` in `folder`."""
    scene, _ = tiled(catalog, folder / "a.tif")
    catalog.settings.var_dir.mkdir(exist_ok=True)
    catalog.settings.var_dir.chmod(0o700)
    with catalog.database.write() as session:
        _, (proposal,) = add_round(session, patches(catalog, scene.id)[:1])
        label = label_of(session, proposal, 900)
        label.mask_sha256 = RasterStore(catalog.settings.raster_store).put(label.mask_key, b"drawn")
        session.add(label)
