"""A simulated annotator for demonstrations and tests, which draws the known truth through Label Studio's API.

It has its own account, by whose e-mail address its labels are marked as simulated.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagery.classes import ClassScheme
from imagery.grid import Window
from labeling.client import LabelStudio
from labeling.regions import encode_brush


class SimulatedAnnotator:
    """A Label Studio user that labels every task with the truth.

    Args:
        studio: Label Studio as that user.
        project_id: The project to work in.
        truth: (H, W) uint8 class values of the whole pool scene.
        windows: Window in the scene by patch id.
        scheme: The classes of the truth.
    """

    def __init__(
        self,
        studio: LabelStudio,
        project_id: int,
        truth: NDArray[np.uint8],
        windows: Mapping[int, Window],
        scheme: ClassScheme,
    ) -> None:
        self._studio = studio
        self._project_id = project_id
        self._truth = truth
        self._windows = windows
        self._scheme = scheme

    def label_all(self) -> int:
        """Label every task of the project that has no annotation.

        Returns:
            Number of tasks labelled.

        Raises:
            LabelStudioError: Label Studio does not answer.
        """
        waiting = [task for task in self._studio.changed_tasks(self._project_id, None) if not task["annotations"]]
        for task in waiting:
            started = time.monotonic()
            regions = draw(self._truth[self._windows[task["data"]["patch_id"]].slices], self._scheme)
            self._studio.annotate(task["id"], regions, lead_time_s=time.monotonic() - started)
        return len(waiting)


def draw(mask: NDArray[np.uint8], scheme: ClassScheme) -> Sequence[dict[str, Any]]:
    """Return a mask (h, w) as brush regions, one per class; empty if all of it is background."""
    present = [item for item in scheme.annotated if (mask == item.value).any()]
    return [encode_brush(mask == item.value, item.name, f"sim-{item.value}") for item in present]


def sign_in(administrator: LabelStudio, url: str, email: str, password: str) -> LabelStudio:
    """Create the account of the simulated annotator by invitation; return a client with its token.

    Raises:
        LabelStudioError: Label Studio does not answer.
    """
    administrator.invite_user(email, password)
    return LabelStudio(url, administrator.user_token(email, password))
