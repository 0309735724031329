"""Signed, expiring addresses of the images that Label Studio's page loads in the annotator's browser.

The browser sends no credentials of ours with an image, so the address itself must carry the right to see it. The editor
and its task list fetch an image several times: an address is good until it expires, not once.
"""

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from catalog.context import Catalog
from services.places import COMPOSITE_ROUTE

SALT = "composite"


class SignatureError(ValueError):
    """The address was not made by us, or its time is over."""


class ImageUrls:
    """Makes and checks the addresses of composites."""

    def __init__(self, base_url: str, key: str, lifetime_s: int) -> None:
        self.base_url = base_url.rstrip("/")
        self.lifetime_s = lifetime_s
        self._signer = URLSafeTimedSerializer(key, salt=SALT)

    def url(self, patch_id: int, name: str) -> str:
        """Return the address of one composite of a patch."""
        signature = self._signer.dumps([patch_id, name])
        return f"{self.base_url}{COMPOSITE_ROUTE.format(patch_id=patch_id, name=name)}?signature={signature}"

    def check(self, patch_id: int, name: str, signature: str) -> None:
        """Accept a signature that we made for this image and that has not expired.

        Raises:
            SignatureError: otherwise.
        """
        try:
            signed = self._signer.loads(signature, max_age=self.lifetime_s)
        except SignatureExpired as error:
            raise SignatureError("the address of this image has expired; reload the task in Label Studio") from error
        except BadSignature as error:
            raise SignatureError("the address of this image carries no valid signature") from error
        if signed != [patch_id, name]:
            raise SignatureError("the signature belongs to another image")


def image_urls(catalog: Catalog) -> ImageUrls:
    """Return the maker of image addresses of this installation."""
    settings = catalog.settings
    return ImageUrls(settings.api_url, catalog.secrets.url_signing_key, settings.image_url_lifetime_s)
