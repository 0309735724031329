"""Pictures of patches: the composites that Label Studio shows to annotators, and what people drew."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import Field

from al_server.blindness import are_labels_withheld
from al_server.context import current_catalog, current_parts
from al_server.map_tiles import WEBP, drawn_colours
from al_server.schemas import media
from catalog.errors import ConflictError, NotFoundError
from catalog.records import Label, Patch
from imagery.map_views import draw_classes, encode_tile
from imagery.masks import mask_from_geotiff
from services import raster_keys
from services.class_scheme import scheme_in_force
from services.request_types import Closed, Integer

api = APIBlueprint("patches", __name__, url_prefix="/api/v1/patches", abp_tags=[Tag(name="patches")])


class CompositePath(Closed):
    """The composite image of a patch."""

    patch_id: Integer
    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$")


class LabelPath(Closed):
    """A label of a patch."""

    patch_id: Integer
    label_id: Integer


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


@api.get("/<int:patch_id>/labels/<int:label_id>.webp", responses={200: media(WEBP, "The label mask")})
def label_picture(path: LabelPath) -> Response:
    """Draw what an annotator drew of a patch, one pixel for each of the scene; transparent where it is background."""
    catalog = current_catalog()
    with catalog.read() as session:
        label = session.get(Label, path.label_id)
        scheme = scheme_in_force(session, catalog.settings)
        patch = session.get(Patch, path.patch_id)
    if patch is not None and are_labels_withheld(patch):  # whether there is such a label or not
        raise ConflictError(f"patch {patch.id} waits for an annotator, who is not to see its earlier labels")
    if label is None or patch is None or label.patch_id != patch.id:
        raise NotFoundError(f"there is no label {path.label_id} of patch {path.patch_id}")
    mask = mask_from_geotiff(current_parts().store.get(label.mask_key, label.mask_sha256), scheme)
    response = Response(encode_tile(draw_classes(mask, drawn_colours(scheme))), content_type=WEBP)
    response.headers["Cache-Control"] = "private, max-age=3600"  # a label never changes
    return response
