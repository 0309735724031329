"""Signed, expiring URLs of the images that Label Studio's page loads in the annotator's browser.

The browser sends no token of this server with an image request, so the URL carries a signature. The editor and its task
list fetch an image several times, so a URL is valid until it expires, not only once.
"""

from catalog.context import Catalog
from services.places import COMPOSITE_ROUTE
from services.signatures import Signatures


class ImageUrls:
    """Creates and checks the signed URLs of composites."""

    def __init__(self, base_url: str, key: str, lifetime_s: int) -> None:
        self.base_url = base_url.rstrip("/")
        self.lifetime_s = lifetime_s
        self._signatures = Signatures(
            key, lifetime_s, salt="composite", what="image", signed="image", renewal="reload the task in Label Studio"
        )

    def url(self, patch_id: int, name: str) -> str:
        """Return the signed URL of one composite of a patch."""
        return f"{self.base_url}{self.path(patch_id, name)}"

    def path(self, patch_id: int, name: str) -> str:
        """Return the same address without the host, for our own pages."""
        signature = self._signatures.sign([patch_id, name])
        return f"{COMPOSITE_ROUTE.format(patch_id=patch_id, name=name)}?signature={signature}"

    def check(self, patch_id: int, name: str, signature: str) -> None:
        """Check that a signature belongs to this image and has not expired.

        Raises:
            SignatureError: it does not, or it has.
        """
        self._signatures.check([patch_id, name], signature)


def image_urls(catalog: Catalog) -> ImageUrls:
    """Return the signer of image URLs that the settings and secrets describe."""
    settings = catalog.settings
    return ImageUrls(settings.api_url, catalog.secrets.url_signing_key, settings.image_url_lifetime_s)
