"""Understand the files of a scene in a process of its own, whose memory and time are limited (`services.contained`).

A file that makes it crash, loop or fill the memory costs one request, not the server.
"""

import logging
import resource
import signal
import tempfile
from multiprocessing.connection import Connection

from catalog.logs import configure_logging
from catalog.settings import Settings
from imagery.classes import ClassScheme
from imagery.errors import OutlineError, SceneError
from services.contained import CONTEXT, lacks_memory, limit_process
from services.scene_description import DescribedScene, describe_scene
from services.scene_files import RemoteFileError, SceneFiles
from services.scene_request import SceneRequest

log = logging.getLogger(__name__)


def describe_contained(
    settings: Settings, request: SceneRequest, files: SceneFiles, scheme: ClassScheme
) -> DescribedScene:
    """Call `describe_scene` in a process of its own.

    Raises:
        SceneError: as `describe_scene`; or that process took more memory or time than the settings allow, or crashed.
        OutlineError: as `describe_scene`.
        RemoteFileError: as `describe_scene`.
        RuntimeError: an error that nobody expected; its process has logged it with its traceback.
    """
    with tempfile.TemporaryDirectory(prefix="scene-") as folder:
        answer = _answer_of(settings, request, files, scheme, folder)
    if isinstance(answer, Exception):
        raise answer
    return answer


def _answer_of(
    settings: Settings, request: SceneRequest, files: SceneFiles, scheme: ClassScheme, folder: str
) -> DescribedScene | Exception:
    """Return the description, or the error, that a process sends which puts its temporary files into a folder.

    Raises:
        SceneError: It took more time than the settings allow, or crashed.
    """
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_describe, args=(sender, settings, request, files, scheme, folder), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(settings.scene_check_timeout_s):
            raise SceneError(
                f"the files could not be understood within {settings.scene_check_timeout_s:g} s (setting "
                "scene_check_timeout_s): they are damaged or too large; give a part of the scene, or simplify its "
                "outlines"
            )
        return receiver.recv()  # type: ignore[no-any-return]
    except EOFError as error:
        process.join()
        how = "it used up its time" if process.exitcode == -signal.SIGXCPU else "it crashed"
        raise SceneError(
            f"the process that read the files ended without an answer ({how}, status {process.exitcode}); expected "
            "files that can be read: they are damaged, convert them with gdal_translate or ogr2ogr"
        ) from error
    finally:
        receiver.close()
        process.kill()
        process.join()


def _describe(
    sender: Connection,
    settings: Settings,
    request: SceneRequest,
    files: SceneFiles,
    scheme: ClassScheme,
    folder: str,
) -> None:
    """Send the description, or the error, to the process that asked."""
    memory = settings.scene_check_memory_mib
    limit_process(memory, folder)
    seconds = int(settings.scene_check_timeout_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        answer: object = describe_scene(settings, request, files, scheme)
    except MemoryError:
        answer = lacks_memory(memory)
    except RemoteFileError as error:
        answer = error
    except SceneError as error:  # those of its kinds that take more than a text cannot be sent
        answer = SceneError(str(error))
    except OutlineError as error:
        answer = OutlineError(str(error))
    except Exception as error:
        # Its traceback ends with this process, and an error of a library may be one that cannot be sent.
        configure_logging(settings.log_format)
        log.exception("the files of a scene could not be understood")
        answer = RuntimeError(f"{type(error).__name__}: {error}")
    sender.send(answer)
