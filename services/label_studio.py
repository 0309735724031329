"""Label Studio, connected to this server: our project, its webhook to us, and its tab of the most useful tasks."""

from catalog.context import Catalog
from labeling.client import LabelStudio
from labeling.instruction import write_instruction
from labeling.webhook import SECRET_HEADER
from services.class_scheme import class_scheme
from services.places import WEBHOOK_ROUTE

DESCRIPTION = "Patches that the model is least sure of, proposed by the active learning server."


def label_studio(catalog: Catalog) -> LabelStudio:
    """Open Label Studio as its administrator."""
    return LabelStudio(catalog.settings.label_studio_url, catalog.secrets.label_studio_token)


def connect(catalog: Catalog, studio: LabelStudio) -> int:
    """See to it that our project exists and tells us of every label; return its id.

    Raises:
        LabelStudioError: Label Studio does not answer.
    """
    settings, scheme = catalog.settings, class_scheme(catalog)
    project_id = studio.ensure_project(
        settings.label_studio_project,
        {item.name: item.colour for item in scheme.annotated},
        DESCRIPTION,
        write_instruction(scheme.names[1:], scheme.background.name, scheme.unknown.name),
    )
    studio.ensure_webhook(
        project_id, settings.api_url.rstrip("/") + WEBHOOK_ROUTE, SECRET_HEADER, catalog.secrets.webhook_secret
    )
    studio.ensure_view(project_id)
    return project_id
