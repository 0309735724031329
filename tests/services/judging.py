"""Labels of patches as the workers store them, with their masks."""

from typing import Any

import numpy as np

from catalog import labels
from catalog.context import Catalog
from catalog.pixel_regions import encode_region
from catalog.records import Patch, Scene
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.masks import mask_to_geotiff
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.catalog_fixtures import add_round, label_of


def judge(catalog: Catalog, patch: Patch, truth: np.ndarray, *, minute: int, **changes: Any) -> int:
    """Store a standing label of a patch as the workers do; return its id."""
    region = changes.pop("region", None)
    with catalog.database.write() as session:
        row = session.get_one(Patch, patch.id)
        _, (proposal,) = add_round(session, [row], first_task=100 + minute)
        proposal.region = encode_region(region) if region is not None else None
        label = label_of(session, proposal, 1000 + minute, minute, **changes)
        source = source_of(session.get_one(Scene, patch.scene_id))
        mask = np.where(region, truth, UNKNOWN).astype(np.uint8) if region is not None else truth
        data = mask_to_geotiff(mask, source.grid, GLACIER_SCHEME, window_of(patch))
        label.mask_sha256 = raster_store(catalog).put(label.mask_key, data)
        labels.store(session, label)
        return label.id
