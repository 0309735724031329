"""Simulated annotators who create, change, skip and delete annotations through Label Studio's API.

What Label Studio acknowledged is remembered: the end state must show it. A call that failed has an unknown outcome, so
what is remembered of its annotation is forgotten.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import requests
from numpy.typing import NDArray

from chaos.ground import PATCH_PX
from cli.simulated_annotator import draw
from imagery.classes import GLACIER_SCHEME
from labeling.client import LabelStudio
from labeling.errors import LabelStudioError
from labeling.task_calls import ReadTask

CREATE: Final = "created"
CHANGE: Final = "changed"
SKIP: Final = "skipped"
DELETE: Final = "deleted"
DELETE_TASK: Final = "task deleted"
_WEIGHTS: Final = {CREATE: 12, CHANGE: 8, SKIP: 1, DELETE: 3, DELETE_TASK: 0.2}
_TIMEOUT_S: Final = 60.0
_SESSION: Final = 12  # actions on tasks that were read together


@dataclass
class Desk:
    """What the annotators share.

    Attributes:
        studio: Label Studio, to look at tasks.
        url: Label Studio's address.
        token: Of the user who draws.
        project_id: The project.
        truth: (H, W) class values of the pool.
        pause_s: Mean time between two actions of one annotator.
        done: How often each action was acknowledged.
        failed: Calls without an acknowledgement.
        last: Annotation id to a number that its last acknowledged drawing carries as lead time.
    """

    studio: LabelStudio
    url: str
    token: str
    project_id: int
    truth: NDArray[np.uint8]
    pause_s: float
    done: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    last: dict[int, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: int = 0

    @property
    def events(self) -> int:
        """How many actions were acknowledged."""
        return sum(self.done.values())

    def next_number(self) -> float:
        """Return a number that no drawing carries yet."""
        with self._lock:
            self._numbers += 1
            return float(self._numbers)

    def note(self, action: str, annotation_id: int | None, number: float | None) -> None:
        """Note an acknowledged action; without a number the annotation is gone."""
        with self._lock:
            self.done[action] += 1
            if annotation_id is not None and number is not None:
                self.last[annotation_id] = number
            elif annotation_id is not None:
                self.last.pop(annotation_id, None)

    def forget(self, annotation_id: int | None) -> None:
        """Note a call that failed: whether it was done is not known."""
        with self._lock:
            self.failed += 1
            if annotation_id is not None:
                self.last.pop(annotation_id, None)


class Annotator(threading.Thread):
    """One annotator, who works until `stopped` is set or the desk has seen enough events.

    While all of its tasks are annotated it rests: changes without end would keep fine-tunes due, and the next round
    waits for these.

    Args:
        desk: The desk.
        seed: Of what it does.
        enough: Number of acknowledged events at which it ends.
        mine: Which tasks it takes: those whose id has this remainder, so that two never work on one task.
        of: Number of annotators.
    """

    def __init__(self, desk: Desk, seed: int, enough: int, mine: int, of: int) -> None:
        super().__init__(name=f"annotator-{mine}", daemon=True)
        self.stopped = threading.Event()
        self._desk = desk
        self._rng = random.Random(f"{seed}-{mine}")
        self._enough = enough
        self._mine, self._of = mine, of
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Token {desk.token}"

    def run(self) -> None:
        """Act, pause, and act again."""
        while not self.stopped.is_set() and self._desk.events < self._enough:
            try:
                self._act()
            except (requests.RequestException, LabelStudioError):
                self._desk.forget(None)
            self.stopped.wait(self._rng.expovariate(1 / self._desk.pause_s))

    def _act(self) -> None:
        tasks = self._taken()
        if all(task["annotations"] for task in tasks):
            return
        # A session: several actions on tasks that were read together.
        for _ in range(_SESSION):
            action = self._rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
            wanted = [task for task in tasks if bool(task["annotations"]) != (action in {CREATE, SKIP})]
            if action == DELETE_TASK:
                wanted = tasks
            if not wanted or self.stopped.is_set():
                continue
            task = self._rng.choice(wanted)
            tasks.remove(task)
            self._do(action, task)
            time.sleep(self._rng.uniform(0, self._desk.pause_s))

    def _taken(self) -> list[ReadTask]:
        """Read some of the tasks that wait and some of those that are answered: to read them all is dear."""
        desk = self._desk
        tags = [tag for tag in desk.studio.list_tags(desk.project_id) if tag.id % self._of == self._mine]
        waiting = [tag.id for tag in tags if not tag.annotations + tag.skips]
        answered = [tag.id for tag in tags if tag.annotations + tag.skips]
        chosen = [self._rng.sample(ids, min(_SESSION, len(ids))) for ids in (waiting, answered)]
        read = [task for ids in chosen for task in desk.studio.read_tasks(desk.project_id, ids)]
        return [task for task in read if "patch_id" in task["data"]]

    def _do(self, action: str, task: Mapping[str, Any]) -> None:
        annotation_id = task["annotations"][0]["id"] if task["annotations"] else None
        number = self._desk.next_number()
        drawing = {
            "result": draw(self._drawn(task), GLACIER_SCHEME),
            "lead_time": number,
            "was_cancelled": action == SKIP,
        }
        try:
            match action:
                case "created" | "skipped":
                    annotation_id = self._call("POST", f"tasks/{task['id']}/annotations/", drawing)["id"]
                case "changed":
                    self._call("PATCH", f"annotations/{annotation_id}/", drawing)
                case "deleted":
                    self._call("DELETE", f"annotations/{annotation_id}/")
                case _:
                    self._call("DELETE", f"tasks/{task['id']}/")
        except requests.RequestException:
            self._desk.forget(annotation_id)
        else:
            self._desk.note(action, annotation_id, None if action in {DELETE, DELETE_TASK} else number)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = self._http.request(method, f"{self._desk.url}/api/{path}", json=body, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def _drawn(self, task: Mapping[str, Any]) -> NDArray[np.uint8]:
        """Return the truth of a patch with a rectangle of one class painted over it, which no other drawing has."""
        row, column = _corner(str(task["data"]["patch"]))
        mask = self._desk.truth[row : row + PATCH_PX, column : column + PATCH_PX].copy()
        top, left = self._rng.randrange(PATCH_PX - 4), self._rng.randrange(PATCH_PX - 4)
        height, width = self._rng.randrange(1, 5), self._rng.randrange(1, 5)
        mask[top : top + height, left : left + width] = self._rng.choice([0, 1, 2])
        return mask


def _corner(patch: str) -> tuple[int, int]:
    """Read row and column of a patch from its name in the task, e.g. ``chaos-pool row 32 column 64``."""
    words = patch.split()
    return int(words[words.index("row") + 1]), int(words[words.index("column") + 1])
