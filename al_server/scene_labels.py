"""What people drew on a scene, as GeoJSON."""

import json
import logging
from itertools import groupby
from typing import Final

import shapely
from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from pydantic import Field
from shapely.geometry import mapping
from sqlalchemy import select
from sqlalchemy.orm import Session

from al_server.annotator_names import annotator_of
from al_server.auth import has_role
from al_server.context import current_catalog, current_parts
from al_server.scene_reading import ready_scene
from al_server.schemas import GEOJSON, SceneId, media
from catalog.access_records import Role
from catalog.records import Patch, PatchState
from imagery.errors import StoreError
from imagery.masks import mask_from_geotiff
from services.class_scheme import class_scheme
from services.glims_lineage import labelled_patches, standing_labels
from services.label_outlines import outline_labels
from services.request_types import Closed, Integer
from services.scenes import source_of

log = logging.getLogger(__name__)
api = APIBlueprint("scene_labels", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="map")])

_DECIMALS: Final = 7  # of a degree: about a centimetre


class LabelPage(Closed):
    """A page of labels: of up to ``limit`` labelled patches with ids greater than ``after``."""

    after: Integer = 0
    limit: int = Field(50, ge=1, le=100)


@api.get("/<int:scene_id>/labels", responses={200: media(GEOJSON, "A FeatureCollection")})
def list_labels(path: SceneId, query: LabelPage) -> Response:
    """Give the standing labels as polygons in WGS 84, background included; where nobody judged there are none.

    The labels of a patch count together: where they overlap, the one that was asked for last. Properties: `class`,
    `patch`, `labels` (ids), `annotated_at` of the newest, `simulated`, and `annotators`: accounts for operators,
    pseudonyms for all others.
    `left_out` names the patches with a mask that is damaged or missing at present, and `withheld` those that wait for
    an annotator, who is not to see earlier labels, whether there are any or not: only operators are given these.
    """
    catalog, store = current_catalog(), current_parts().store
    scene = ready_scene(path.scene_id)
    grid, scheme = source_of(scene).grid, class_scheme(catalog)
    # For those who label, nothing may tell which patches are checks: neither labels of one that waits, by which a page
    # would be shorter, nor a labelled patch that is left out because it was a honeypot.
    blind = not has_role(Role.OPERATOR)
    with catalog.read() as session:
        patches = labelled_patches(session, scene.id, query.after, query.limit, waiting=not blind, honeypots=blind)
        labels = standing_labels(session, scene.id, simulated=True, waiting=not blind, honeypots=blind, patches=patches)
        last = patches[-1] if len(patches) == query.limit else None
        withheld = _waiting(session, scene.id, query.after, last) if blind else []
    features, left_out = [], list[int]()
    by_patch = groupby(sorted(labels, key=lambda label: label.patch_id), lambda label: label.patch_id)
    for _, of_patch in by_patch:
        drawn = list(of_patch)
        try:
            found = outline_labels(
                drawn,
                grid,
                scheme,
                lambda label: mask_from_geotiff(store.get(label.mask_key, label.mask_sha256), scheme),
            )
        except StoreError as error:  # the store has noted it, and the clock has it drawn again
            log.warning("the labels of patch %d are left out of a list: %s", drawn[0].patch_id, error)
            left_out.append(drawn[0].patch_id)
            continue
        people = dict.fromkeys(map(annotator_of, drawn))
        about = {
            "patch": found.patch_id,
            "labels": found.labels,
            "annotated_at": found.annotated_at.isoformat(),
            "simulated": found.simulated,
            "annotators": list(people),
        }
        features += [
            {
                "type": "Feature",
                "properties": {"class": name, **about},
                "geometry": mapping(shapely.transform(outline, lambda points: points.round(_DECIMALS))),
            }
            for name, outline in found.outlines
        ]
    next_page = None
    if last is not None:
        next_page = url_for("scene_labels.list_labels", scene_id=scene.id, after=last, limit=query.limit)
    told = {"left_out": left_out, "withheld": withheld, "next": next_page}
    body = {"type": "FeatureCollection", "features": features, **told}
    return Response(json.dumps(body), content_type=GEOJSON)


def _waiting(session: Session, scene_id: int, after: int, last: int | None) -> list[int]:
    """Return the ids of the patches of a scene that wait for an annotator, from ``after`` up to ``last``, if any."""
    found = select(Patch.id).where(Patch.scene_id == scene_id, Patch.state == PatchState.PROPOSED, Patch.id > after)
    if last is not None:
        found = found.where(Patch.id <= last)
    return list(session.scalars(found.order_by(Patch.id)))
