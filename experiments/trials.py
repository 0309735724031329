"""A trial is the smallest piece of an experiment, done once: its result is kept under the hash of its description.

So an experiment that was interrupted goes on where it stopped, and experiments share what they have in common: the
scores of the network with all channels serve most of them.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from experiments.ground import Ground

FORMAT: Final = 1
"""To be raised when a change of the code changes results, so that kept ones are not mixed with new ones."""

OnStep = Callable[[int, int], None]
"""Takes the steps done and the steps in all."""


class Trial(Protocol):
    """Something to compute."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    def describe(self, ground: Ground) -> dict[str, Any]:
        """All that the result depends on, as JSON can hold it."""
        ...

    def run(self, ground: Ground, on_step: OnStep) -> dict[str, Any]:
        """Compute the result, as JSON can hold it."""
        ...


class TrialStore:
    """Results in a folder, one JSON file each, with the description beside the result."""

    def __init__(self, folder: Path, ground: Ground) -> None:
        """Keep results in a folder.

        Args:
            folder: Created when there is something to keep.
            ground: What the trials are computed on.
        """
        self._folder = folder
        self._ground = ground

    def find(self, trial: Trial) -> dict[str, Any] | None:
        """Return the result of a trial, or None if it is yet to be computed."""
        return self.read(trial) if self._path(trial).exists() else None

    def read(self, trial: Trial) -> dict[str, Any]:
        """Return the result of a trial that is kept."""
        result: dict[str, Any] = json.loads(self._path(trial).read_text())["result"]
        return result

    def keep(self, trial: Trial, result: dict[str, Any]) -> None:
        """Keep a result; a half-written file never takes the place of a whole one."""
        path = self._path(trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps({"description": trial.describe(self._ground), "result": result}))
        draft.replace(path)

    def _path(self, trial: Trial) -> Path:
        text = json.dumps([FORMAT, trial.describe(self._ground)], sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
