"""Composite images of patches, which Label Studio shows to annotators."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.context import current_parts
from al_server.schemas import CompositePath, Signature, media
from services import raster_keys

api = APIBlueprint("patches", __name__, url_prefix="/api/v1/patches", abp_tags=[Tag(name="patches")])


@api.get("/<int:patch_id>/composites/<name>.png", responses={200: media("image/png", "The composite")})
def composite(path: CompositePath, query: Signature) -> Response:
    """Return a composite image; the signature in the URL is the credential."""
    current_parts().image_urls.check(path.patch_id, path.name, query.signature)
    response = Response(current_parts().store.get(raster_keys.view(path.patch_id, path.name)), content_type="image/png")
    # Label Studio's task list loads all images of all visible tasks each time it is shown.
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response
