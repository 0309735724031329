"""Signed, expiring addresses of the tiles of a scene, for programs that send no token, such as QGIS.

What is signed is the scene's id: a signature shows the tiles of one scene and nothing else. So a project of QGIS that
is passed on holds no token.
"""

from catalog.context import Catalog
from services.signatures import Signatures


def tile_signatures(catalog: Catalog) -> Signatures:
    """Return the signer of the addresses of tiles that the settings and secrets describe."""
    return Signatures(
        catalog.secrets.url_signing_key,
        catalog.settings.image_url_lifetime_s,
        salt="tiles",
        what="tile",
        signed="scene",
        renewal="fetch the layers of the scene again",
    )
