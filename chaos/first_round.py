"""From an empty system to a round that waits for its annotators."""

from collections.abc import Callable
from typing import Final

import requests
from sqlalchemy import select

from catalog.installation import find_installation
from catalog.records import Round
from chaos.annotators import Desk
from chaos.ground import PATCH_PX, pool_truth, write_ground
from chaos.ledger import open_jobs, opened
from chaos.system import System
from cli.simulated_annotator import sign_in
from labeling.client import LabelStudio

_SETUP_S: Final = 900.0


def open_first_round(system: System, seed: int, events: int, pause_s: float, say: Callable[[str], None]) -> Desk:
    """Register the scenes, wait for the first round, and sign the annotator in.

    Args:
        system: A system that has just been started for the first time.
        seed: Of the ground.
        events: Expected label events; the pool has patches enough for them.
        pause_s: Mean time between two actions of an annotator.
        say: Gets a line for each thing that happens.

    Returns:
        The desk of the annotators.

    Raises:
        RuntimeError: A scene was refused, or the round was not opened in time.
    """
    settings = system.settings
    # Half of the events create a label. Some patches must be left when all are done, or no round can be opened.
    side = PATCH_PX * max(8, round((0.7 * events) ** 0.5))
    for request in write_ground(settings.scene_root, seed, side):
        answer = system.post("scenes", request)
        if answer.status_code >= requests.codes.bad_request:
            raise RuntimeError(f"the scene {request['name']} was refused: {answer.text}")
    say(f"registered a pool of {(side // PATCH_PX) ** 2} patches; opening the first round")
    with opened(system) as catalog:

        def has_tiled() -> bool:
            return not open_jobs(catalog)

        def is_open() -> bool:
            with catalog.read() as session:
                return session.scalar(select(Round.published_at).limit(1)) is not None

        system.wait("the scenes to be tiled", has_tiled, _SETUP_S)
        system.post("rounds")
        system.wait("the first round to open", is_open, _SETUP_S)
        with catalog.read() as session:
            installation = find_installation(session)
        secrets = catalog.secrets
    project_id = installation.label_studio_project_id if installation else None
    if project_id is None:
        raise RuntimeError("a round is open, but no project is known")
    url = settings.label_studio_url
    administrator = LabelStudio(url, secrets.label_studio_token)
    password = secrets.operator_token
    sign_in(administrator, url, "chaos@glacier.local", password)
    token = administrator.user_token("chaos@glacier.local", password)
    return Desk(LabelStudio(url, token), url, token, project_id, pool_truth(settings.scene_root), pause_s)
