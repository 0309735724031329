"""The members of a task's data that hold signed addresses: the picture drawn on, and the panel of views beside it.

Composed when a task is published and again when its addresses are renewed, both from the names of its pictures.
"""

from collections.abc import Mapping
from urllib.parse import quote

from catalog.records import Patch, Scene
from labeling.views_panel import Picture, write_panel
from services.image_urls import ImageUrls
from services.patch_views import SURROUNDINGS, TRUE_COLOUR, field_of, titles_of
from services.scenes import source_of, window_of

_ZOOM = 13
"""Of web maps: some 10 km across on a screen."""


def picture_fields(urls: ImageUrls, scene: Scene, patch: Patch, views: Mapping[str, str]) -> dict[str, str]:
    """Return the members ``true_colour`` and ``panel`` of a task's data.

    Args:
        urls: Signs addresses.
        scene: The scene.
        patch: The patch.
        views: From `workers.views.draw_views`; pictures that have been removed since are missing.

    Raises:
        SceneError: The scene's CRS has no transformation to WGS 84.
    """
    source = source_of(scene)
    titles = titles_of(source)
    pictures = {
        name: Picture(name, *titles[name], urls.url(patch.id, views[field_of(name)]))
        for name in titles
        if field_of(name) in views
    }
    around = pictures.pop(SURROUNDINGS, None)
    lon, lat = source.grid.centre_wgs84(window_of(patch))
    links = {
        "Our map": f"{urls.base_url}/map#scene={scene.id}&layers=outlines&at={quote(f'{lon:.5f},{lat:.5f},{_ZOOM}')}",
        "OpenStreetMap": f"https://www.openstreetmap.org/?mlat={lat:.5f}&mlon={lon:.5f}#map={_ZOOM}/{lat:.5f}/{lon:.5f}",
    }
    return {
        field_of(TRUE_COLOUR): pictures[TRUE_COLOUR].url,
        "panel": write_panel(list(pictures.values()), around, links),
    }
