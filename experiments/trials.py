"""A trial is the smallest piece of an experiment; its result is stored under the hash of its description.

An interrupted experiment therefore resumes, and experiments share trials: most of them use the network with all
channels.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from experiments.study_data import StudyData

FORMAT: Final = 2
"""Raise it when a change of the code changes results, so that stored results are not mixed with new ones.

The keys of descriptions count, too: renaming one discards all stored results.
"""

OnStep = Callable[[int, int], None]
"""A function of the finished steps and of all steps."""


class Trial(Protocol):
    """A piece of an experiment to compute."""

    @property
    def name(self) -> str:
        """The name that is shown to people."""
        ...

    def describe(self, data: StudyData) -> dict[str, Any]:
        """Return everything that the result depends on, as JSON can hold it."""
        ...

    def run(self, data: StudyData, on_step: OnStep) -> dict[str, Any]:
        """Compute and return the result, as JSON can hold it."""
        ...


class TrialStore:
    """Stores results in a folder, one JSON file each with the description and the result."""

    def __init__(self, folder: Path, data: StudyData) -> None:
        """Use a folder.

        Args:
            folder: Created with the first result.
            data: The data that the trials are computed on.
        """
        self._folder = folder
        self._data = data

    def find(self, trial: Trial) -> dict[str, Any] | None:
        """Return the stored result of a trial, or None."""
        return self.read(trial) if self._path(trial).exists() else None

    def read(self, trial: Trial) -> dict[str, Any]:
        """Return the result of a trial, which must be stored."""
        result: dict[str, Any] = json.loads(self._path(trial).read_text())["result"]
        return result

    def keep(self, trial: Trial, result: dict[str, Any]) -> None:
        """Store a result atomically."""
        path = self._path(trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps({"description": trial.describe(self._data), "result": result}))
        draft.replace(path)

    def _path(self, trial: Trial) -> Path:
        text = json.dumps([FORMAT, trial.describe(self._data)], sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
