"""Signed, expiring addresses of the tiles of a scene, for programs that send no token, such as QGIS.

A signature shows the tiles of one scene and nothing else. So a project of QGIS that is passed on holds no token.
"""

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from catalog.context import Catalog
from services.image_urls import SignatureError

SALT = "tiles"


class TileUrls:
    """Signs and checks the addresses of tiles."""

    def __init__(self, key: str, lifetime_s: int) -> None:
        self._signer = URLSafeTimedSerializer(key, salt=SALT)
        self._lifetime_s = lifetime_s

    def sign(self, scene_id: int) -> str:
        """Return the signature for the tiles of a scene."""
        return str(self._signer.dumps(scene_id))

    def check(self, scene_id: int, signature: str) -> None:
        """Check that a signature belongs to a scene and has not expired.

        Raises:
            SignatureError: It does not, or it has.
        """
        try:
            signed = self._signer.loads(signature, max_age=self._lifetime_s)
        except SignatureExpired as error:
            raise SignatureError("the address of this tile has expired; fetch the layers of the scene again") from error
        except (BadSignature, UnicodeEncodeError) as error:
            raise SignatureError("the address of this tile carries no valid signature") from error
        if signed != scene_id:
            raise SignatureError("the signature belongs to another scene")


def tile_urls(catalog: Catalog) -> TileUrls:
    """Return the signer of addresses of tiles that the settings and secrets describe."""
    return TileUrls(catalog.secrets.url_signing_key, catalog.settings.image_url_lifetime_s)
