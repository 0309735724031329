"""The pictures of patches that annotators see in Label Studio."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.context import parts
from al_server.schemas import CompositePath, Signature, media
from services import raster_keys

api = APIBlueprint("patches", __name__, url_prefix="/api/v1/patches", abp_tags=[Tag(name="patches")])


@api.get("/<int:patch_id>/composites/<name>.png", responses={200: media("image/png", "The picture")})
def composite(path: CompositePath, query: Signature) -> Response:
    """Give one picture, to whoever holds its signed address."""
    parts().image_urls.check(path.patch_id, path.name, query.signature)
    response = Response(parts().store.get(raster_keys.view(path.patch_id, path.name)), content_type="image/png")
    # Label Studio's task list loads every picture of every visible task, again and again.
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response
