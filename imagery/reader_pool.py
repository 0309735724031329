"""Scenes that stay open between requests: opening each file of a scene anew takes about as long as reading a tile."""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rasterio.env import env_ctx_if_needed

from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource

IDLE_S: Final = 60.0
"""Seconds after which a scene that nobody reads is closed, at the next use of the pool."""
_SETTLED_NS: Final = 1_000_000_000
"""Nanoseconds for which files must have been left alone: the time of a file tells of no two changes within its step."""

State = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, eq=False)
class _Idle:
    """An open scene that nobody reads.

    Attributes:
        source: The scene.
        reader: Has all its files open.
        state: What these files and their folders were like when they were opened (`_state`).
        since: When its last reading ended (`time.monotonic`).
    """

    source: SceneSource
    reader: SceneReader
    state: State
    since: float


class ReaderPool:
    """Lends open scenes, each to one thread at a time, because GDAL's datasets are not thread-safe.

    A scene is opened anew if one of its files, or what lies beside them, has changed since. One with files that changed
    a moment ago, or that cannot be looked at because they lie at an address or in an archive, is not kept.
    """

    def __init__(self, most: int, idle_s: float = IDLE_S) -> None:
        """Keep at most so many idle readers (1 or more), for so many seconds; those that are lent are not limited."""
        self._most = most
        self._idle_s = idle_s
        self._idle: list[_Idle] = []  # the least recently used first
        self._lock = threading.Lock()

    @contextmanager
    def reading(self, source: SceneSource) -> Iterator[SceneReader]:
        """Lend a reader of a scene for a block; it is closed if the block raises an error.

        Raises:
            UnreadableFileError, SceneError: As `SceneReader.__enter__`.
        """
        # Within an environment, rasterio's datasets bring none of their own, which only the same thread could leave.
        with env_ctx_if_needed():
            lent = self._take(source) or _opened(source)
            try:
                yield lent.reader
            except BaseException:
                _close([lent])
                raise
            self._give_back(lent)

    def close(self) -> None:
        """Close all idle readers."""
        with self._lock:
            closed, self._idle = self._idle, []
        _close(closed)

    def _take(self, source: SceneSource) -> _Idle | None:
        """Return an idle reader of a scene whose files are what they were, or None; close those that are outdated."""
        with self._lock:
            mine = [idle for idle in self._idle if idle.source == source]
            found = mine[-1] if mine else None
            oldest = time.monotonic() - self._idle_s
            expired = [idle for idle in self._idle if idle.since < oldest and idle is not found]
            self._idle = [idle for idle in self._idle if idle is not found and idle not in expired]
        _close(expired)
        if found is not None and _state(found.reader.files) != found.state:
            _close([found])
            return None
        return found

    def _give_back(self, lent: _Idle) -> None:
        idle = [_Idle(lent.source, lent.reader, lent.state, time.monotonic())] if lent.state else []
        with self._lock:
            kept = [*self._idle, *idle]
            self._idle = kept[-self._most :]
        _close([*kept[: -self._most], *([] if idle else [lent])])


def _opened(source: SceneSource) -> _Idle:
    settled = time.time_ns() - _SETTLED_NS
    reader = SceneReader(source).__enter__()
    state = _state(reader.files)
    quiet = all(changed_ns < settled for _, _, changed_ns, _ in state)
    return _Idle(source, reader, state if quiet else (), since=0.0)


def _close(readers: Iterable[_Idle]) -> None:
    for idle in readers:
        idle.reader.__exit__(None, None, None)


def _state(files: Iterable[str]) -> State:
    """Return size, time and inode of files and of their folders, whose time tells of files that appear beside them.

    Empty if one of them cannot be looked at.
    """
    names = set(files)
    try:
        states = [(name, os.stat(name)) for name in sorted(names | set(map(os.path.dirname, names)))]  # noqa: PTH116
    except OSError:
        return ()
    return tuple((name, found.st_size, found.st_mtime_ns, found.st_ino) for name, found in states)
