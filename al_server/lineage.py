"""Lineage: what a version learnt from, how it was trained, and why each label exists."""

from functools import partial

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.auth import has_role
from al_server.context import current_catalog, current_parts, json_response
from al_server.version_schemas import VersionNumber
from catalog.access_records import Role
from services.lineage import Lineage, read_lineage
from services.pseudonyms import pseudonym

api = APIBlueprint("lineage", __name__, url_prefix="/api/v1/models", abp_tags=[Tag(name="models")])


@api.get("/<int:version>/lineage", responses={200: Lineage})
def lineage(path: VersionNumber) -> Response:
    """Tell what a version and those before it were trained on. Operators read accounts, others pseudonyms.

    Only operators are told which labels were asked for to check their annotators.

    What stands in a model card that this server does not hold yet is left out, and ``fault`` says so: its clock fetches
    the cards from MLflow.
    """
    catalog = current_catalog()
    checks = has_role(Role.OPERATOR)
    name = (lambda label: label.annotator) if checks else partial(pseudonym, catalog)
    return json_response(read_lineage(catalog, current_parts().bundles, path.version, name, checks=checks, fetch=False))
