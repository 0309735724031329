"""Label Studio, connected to this server: our project, its webhook to us, and its tab of the most useful tasks."""

from catalog.context import Catalog
from imagery.classes import ANNOTATED
from labeling.client import LabelStudio
from labeling.webhook import SECRET_HEADER
from services.places import WEBHOOK_ROUTE

DESCRIPTION = "Patches that the glacier model is least sure of, proposed by the active learning server."

COLOURS = {item.name: item.colour for item in ANNOTATED}
LABELS = tuple(COLOURS)


def label_studio(catalog: Catalog) -> LabelStudio:
    """Open Label Studio as its administrator."""
    return LabelStudio(catalog.settings.label_studio_url, catalog.secrets.label_studio_token)


def connect(catalog: Catalog, studio: LabelStudio) -> int:
    """See to it that our project exists and tells us of every label; return its id.

    Raises:
        LabelStudioError: Label Studio does not answer.
    """
    settings = catalog.settings
    project_id = studio.ensure_project(settings.label_studio_project, COLOURS, DESCRIPTION)
    studio.ensure_webhook(
        project_id, settings.api_url.rstrip("/") + WEBHOOK_ROUTE, SECRET_HEADER, catalog.secrets.webhook_secret
    )
    studio.ensure_view(project_id)
    return project_id
