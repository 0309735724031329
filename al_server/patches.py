"""Composite images of patches, which Label Studio shows to annotators."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import Field

from al_server.context import current_parts
from al_server.schemas import media
from services import raster_keys
from services.scene_request import Closed, Integer

api = APIBlueprint("patches", __name__, url_prefix="/api/v1/patches", abp_tags=[Tag(name="patches")])


class CompositePath(Closed):
    """The composite image of a patch."""

    patch_id: Integer
    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$")


class Signature(Closed):
    """Signed token for a composite image."""

    signature: str = Field(max_length=500)


@api.get("/<int:patch_id>/composites/<name>.png", responses={200: media("image/png", "The composite")})
def composite(path: CompositePath, query: Signature) -> Response:
    """Return a composite image; the signature in the URL is the credential."""
    current_parts().image_urls.check(path.patch_id, path.name, query.signature)
    response = Response(current_parts().store.get(raster_keys.view(path.patch_id, path.name)), content_type="image/png")
    # Label Studio's task list loads all images of all visible tasks each time it is shown.
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response
