"""Pictures of where a version looked in the blocks that it maps better or worse than the champion."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.map_tiles import WEBP
from al_server.schemas import media
from al_server.version_choice import card_of, chosen_version
from imagery.map_views import draw_share, encode_tile
from services.request_types import Closed, Integer
from services.version_saliency import block_picture

api = APIBlueprint("saliency", __name__, url_prefix="/api/v1/models", abp_tags=[Tag(name="models")])


class BlockPath(Closed):
    """A block of the card of a version."""

    version: Integer
    block: Integer


@api.get("/<int:version>/saliency/<int:block>.webp", responses={200: media(WEBP, "The saliency of the block")})
def block_saliency(path: BlockPath) -> Response:
    """Draw where the network looked when it told the classes of a block of a validation scene: light where most."""
    picture = draw_share(block_picture(card_of(chosen_version(path.version)), path.block))
    response = Response(encode_tile(picture), content_type=WEBP)
    response.headers["Cache-Control"] = "private, max-age=3600"  # a card never changes
    return response
