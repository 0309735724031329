"""What schemathesis sends where the API takes a file."""

import schemathesis
from hypothesis import strategies

FILES = ("application/geopackage+sqlite3", "application/zip", "image/tiff")


@schemathesis.serializer(*FILES)
def send(_: schemathesis.SerializationContext, value: bytes) -> bytes:
    """Send bytes as they are."""
    return value


for media_type in FILES:
    schemathesis.openapi.media_type(media_type, strategies.binary(max_size=200))
