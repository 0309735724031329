"""Set up our project in Label Studio: its labelling page, its webhook, and its tab of the most useful tasks.

The id of the project is stored, because people may rename it. If the project was deleted, the deletion is recorded in
the ledger, its unanswered proposals are withdrawn, and the next call creates a new project.
"""

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.context import Catalog
from catalog.installation import find_installation, lock_installation
from catalog.records import Proposal
from labeling.client import LabelStudio
from labeling.errors import LabelStudioError
from labeling.events import ProjectDeleted
from labeling.instruction import write_instruction
from labeling.webhook import SECRET_HEADER
from services import label_events
from services.class_scheme import class_scheme
from services.example_pictures import examples_of
from services.places import INTERACTIVE_ROUTE, WEBHOOK_ROUTE

log = logging.getLogger(__name__)

DESCRIPTION = "Patches that the model is least sure of, proposed by the active learning server."


def label_studio(catalog: Catalog) -> LabelStudio:
    """Return a client of Label Studio with the administrator's token."""
    return LabelStudio(catalog.settings.label_studio_url, catalog.secrets.label_studio_token)


def connect(catalog: Catalog, studio: LabelStudio) -> int:
    """Ensure that our project exists, with its labelling page, webhook and tab; return its id.

    Raises:
        LabelStudioError: Label Studio does not answer, or has another project under the id of ours.
        ServiceDownError: Redis does not answer.
    """
    settings, scheme = catalog.settings, class_scheme(catalog)
    colours = {item.name: item.colour for item in scheme.annotated}
    clicks = settings.interactive_clicks
    palette = {scheme.background.name: scheme.background.colour, **colours}
    clicked = palette if clicks else None
    instruction = write_instruction(
        scheme.names[1:],
        scheme.background.name,
        scheme.unknown.name,
        clicks=clicks,
        examples=examples_of(scheme, settings.api_url),
    )
    project_id = find_project(catalog, studio)
    if project_id is None:
        title = settings.label_studio_project
        project_id = _store_project(catalog, studio.create_project(title, colours, DESCRIPTION, instruction, clicked))
        delete_doubles(catalog, studio, project_id)
    try:
        studio.update_project(project_id, colours, DESCRIPTION, instruction, clicked)
    except LabelStudioError as error:
        if clicks or not error.refused:
            raise
        # Label Studio lets no control go with which something in the project was drawn.
        studio.update_project(project_id, colours, DESCRIPTION, instruction, palette)
        log.info("the control of clicks stays on the labelling page until no annotation or draft has one: %s", error)
    studio.ensure_webhook(project_id, _webhook_url(catalog), SECRET_HEADER, catalog.secrets.webhook_secret)
    studio.ensure_view(project_id)
    _connect_clicks(catalog, studio, project_id)
    return project_id


def delete_doubles(catalog: Catalog, studio: LabelStudio, project_id: int) -> None:
    """Delete the empty projects that a repeated creation of ours left behind, one worker at a time.

    When two projects are deleted at once, Label Studio can lose its signal handlers until it is restarted, and then
    gives new users no token.

    Raises:
        LabelStudioError: Label Studio does not answer.
        ServiceDownError: Redis does not answer.
    """
    with catalog.queue.exclusively("delete surplus projects"):
        for double in studio.doubles(project_id):
            log.warning("project %d of Label Studio is an empty double of ours; deleting it", double)
            studio.delete_project(double)


def _connect_clicks(catalog: Catalog, studio: LabelStudio, project_id: int) -> None:
    """Connect this server as interactive backend, or disconnect it, as the setting says.

    A failure is logged only: without clicks a patch can still be labelled, and the next call tries again.
    """
    try:
        if catalog.settings.interactive_clicks:
            url = catalog.settings.api_url.rstrip("/") + INTERACTIVE_ROUTE
            studio.ensure_backend(project_id, url, catalog.secrets.interactive_password)
        else:
            studio.remove_backend(project_id)
    except LabelStudioError as error:
        log.warning("clicks that mend a proposal are not set up in Label Studio: %s", error)


def find_project(catalog: Catalog, studio: LabelStudio) -> int | None:
    """Return the id of our project, or None if it has to be created.

    That is the stored project. Older releases stored none: then it is the project of the newest proposal or, without
    one, the project with our title.

    Raises:
        LabelStudioError: Label Studio does not answer, or has another project under the id of ours.
    """
    with catalog.read() as session:
        installation = find_installation(session)
        stored = installation.label_studio_project_id if installation is not None else None
        last_used = session.scalar(
            select(Proposal.project_id).where(Proposal.project_id.is_not(None)).order_by(Proposal.id.desc()).limit(1)
        )
    expected = stored or last_used
    if expected is not None and check_still_exists(catalog, studio, expected):
        _check_ours(catalog, studio, expected)
        return expected if expected == stored else _store_project(catalog, expected)
    titled = studio.find_project(catalog.settings.label_studio_project)
    return None if titled is None else _store_project(catalog, titled)


def check_still_exists(catalog: Catalog, studio: LabelStudio, project_id: int) -> bool:
    """Return whether one of our projects exists; record its deletion in the ledger if it does not.

    Raises:
        LabelStudioError: Label Studio does not answer, or cannot say.
    """
    if studio.project_exists(project_id):
        return True
    log.error("Label Studio has no project %d any more: what waited in it is withdrawn", project_id)
    with catalog.write() as session:
        label_events.record_found(session, {"action": ProjectDeleted.action, "project": {"id": project_id}})
        forget_project(session, project_id)
    return False


def forget_project(session: Session, project_id: int) -> None:
    """Clear the stored id of a deleted project, so that a new project is created."""
    installation = find_installation(session)
    if installation is not None and installation.label_studio_project_id == project_id:
        installation.label_studio_project_id = None


def _store_project(catalog: Catalog, project_id: int) -> int:
    """Store the id of our project, unless another worker has stored one; return the stored id."""
    with catalog.write() as session:
        installation = lock_installation(session)
        if installation.label_studio_project_id is None:
            installation.label_studio_project_id = project_id
        return installation.label_studio_project_id


def _check_ours(catalog: Catalog, studio: LabelStudio, project_id: int) -> None:
    """Raise unless a project is ours: it has our title, our webhook, or a task of ours.

    Another Label Studio behind the same address has other projects under the same ids.
    """
    if studio.has_webhook(project_id, _webhook_url(catalog), SECRET_HEADER):
        return
    if studio.project_title(project_id) == catalog.settings.label_studio_project:
        return
    with catalog.read() as session:
        newest = select(Proposal.uid).where(Proposal.project_id == project_id).order_by(Proposal.id.desc()).limit(50)
        uids = list(session.scalars(newest))
    if not studio.find_tasks(project_id, uids):
        raise LabelStudioError(
            f"Project {project_id} of Label Studio at {catalog.settings.label_studio_url} is not ours: it has neither "
            "our webhook nor one of our tasks. Is this the Label Studio that the tasks were published in?",
            url=catalog.settings.label_studio_url,
        )


def _webhook_url(catalog: Catalog) -> str:
    return catalog.settings.api_url.rstrip("/") + WEBHOOK_ROUTE
