"""Processes of their own for work on files that come from elsewhere or lie behind a network.

What reads such files (GDAL, GEOS, PROJ, SQLite) is large and written in C. It may crash, fill the memory, or wait
without end for another machine; no thread can be stopped while it does. A process can.
"""

import logging
import multiprocessing
import os
import resource
import shutil
import tempfile
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Final, TypeVar, TypeVarTuple

from imagery.errors import OutlineError, SceneError, StoreError

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Arguments = TypeVarTuple("Arguments")

START_S: Final = 60.0
"""Time that a helper gets to start; on a busy machine the libraries take ten seconds."""

# The server of this context has no threads, so that it can be forked safely, and has loaded the libraries once.
CONTEXT: Final = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["services.scene_description"])


class Helper:
    """A process that calls functions for others, one at a time. It keeps what GDAL has cached."""

    def __init__(self, memory_mib: int) -> None:
        """Start the process, and wait until it has loaded its libraries.

        Args:
            memory_mib: Memory that it may take.

        Raises:
            TimeoutError: It has not started within `START_S`.
            EOFError: It has ended.
        """
        self._connection, theirs = CONTEXT.Pipe()
        folder = tempfile.mkdtemp(prefix="helper-")
        self._delete_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._process = CONTEXT.Process(target=_serve, args=(theirs, memory_mib, folder), daemon=True)
        self._process.start()
        theirs.close()
        try:
            if not self._connection.poll(START_S):
                raise TimeoutError(f"it has not started within {START_S:g} s")
            self._connection.recv()
        except (EOFError, OSError):
            self.end()
            raise

    def call(self, timeout_s: float, function: Callable[[*Arguments], Answer], *arguments: *Arguments) -> Answer:
        """Call a function there. Function, arguments and answer must be ones that can be pickled.

        Args:
            timeout_s: Time after which the process is killed.
            function: The function.
            *arguments: Its arguments.

        Raises:
            TimeoutError: It took longer.
            EOFError: The process ended.
            OSError: The process ended.
            SceneError: As the function, and likewise `OutlineError` and `StoreError`; or it needed more memory.
            RuntimeError: Any other error of the function; the process has logged it with its traceback.
        """
        try:
            self._connection.send((function, arguments))
            if not self._connection.poll(timeout_s):
                raise TimeoutError(f"it took longer than {timeout_s:.3g} s")
            is_good, answer = self._connection.recv()
        except (EOFError, OSError):
            self.end()
            raise
        if not is_good:
            raise answer
        return answer  # type: ignore[no-any-return]

    @property
    def is_running(self) -> bool:
        """Whether it can be called."""
        return self._process.is_alive()

    def end(self) -> None:
        """Kill the process, and delete its temporary files."""
        self._connection.close()
        self._process.kill()
        self._process.join()
        self._delete_folder()


def limit_process(memory_mib: int, folder: str) -> None:
    """Limit the memory of this process, let it leave no core dump, and have it put temporary files into a folder.

    A process that is killed deletes none of them: whoever kills it deletes the folder.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mib << 20, memory_mib << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tempfile.tempdir = folder
    os.environ["TMPDIR"] = folder  # for GDAL and SQLite


def lacks_memory(memory_mib: int) -> SceneError:
    """Return the error for files that need more memory than a process of its own may take."""
    return SceneError(
        f"the files could not be understood within {memory_mib} MiB of memory (setting scene_check_memory_mib): they "
        "are damaged or too large; give a part of the scene, or simplify its outlines"
    )


def _serve(connection: Connection, memory_mib: int, folder: str) -> None:
    """Call the functions that are sent until nobody is left to send one."""
    limit_process(memory_mib, folder)
    connection.send(None)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        connection.send(_answer(function, arguments, memory_mib))


def _answer(function: Callable[..., object], arguments: tuple[object, ...], memory_mib: int) -> tuple[bool, object]:
    try:
        return True, function(*arguments)
    except (SceneError, OutlineError, StoreError) as error:
        # Those of their kinds that take more than a text cannot be sent.
        kind = next(kind for kind in (SceneError, OutlineError, StoreError) if isinstance(error, kind))
        return False, kind(str(error))
    except MemoryError:
        return False, lacks_memory(memory_mib)
    except Exception as error:
        log.exception("%s failed", getattr(function, "__qualname__", function))
        return False, RuntimeError(f"{type(error).__name__}: {error}")
