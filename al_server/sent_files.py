"""Reading a vector file that somebody sends in the body of a request, by a process that it may crash or keep busy."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

from werkzeug.exceptions import ServiceUnavailable

from al_server.context import current_catalog
from al_server.turns import UPLOADS
from catalog.errors import InvalidInputError
from imagery.errors import OutlineError
from services.contained import Helper

Answer = TypeVar("Answer")
Arguments = TypeVarTuple("Arguments")

# The first bytes of the files that are taken, and their endings.
_KINDS: Final = {b"SQLite format 3\0": ".gpkg", b"PK\x03\x04": ".zip"}
READ_S: Final = 60.0
"""Time in which a file must be read."""


def ending_of(content: bytes) -> str:
    """Return the ending of a vector file by its first bytes: of a GeoPackage, or a zip archive.

    Raises:
        InvalidInputError: It is neither.
    """
    ending = next((ending for start, ending in _KINDS.items() if content.startswith(start)), None)
    if ending is None:
        raise InvalidInputError("found a file that is neither a GeoPackage nor a zip archive; expected one of them")
    return ending


def read_sent(
    content: bytes, ending: str, expected: str, read: Callable[[str, *Arguments], Answer], *arguments: *Arguments
) -> Answer:
    """Return what a function reads from a file, within limits on time and memory.

    Args:
        content: The file.
        ending: The end of its name, which tells its format.
        expected: What is expected instead of a file that takes too long or makes the libraries crash.
        read: Gets the path of the file, and the arguments. All of them, and what it returns, can be pickled.
        *arguments: Further arguments.

    Raises:
        OutlineError: As `read`; or reading took too long, or crashed.
        SceneError: Reading needed more memory than it may take.
        ServiceUnavailable: Another file is being read.
    """
    with UPLOADS.required("requests with vector files"), tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"sent{ending}")
        file.write_bytes(content)
        helper = _started(current_catalog().settings.scene_check_memory_mib)
        try:
            return helper.call(READ_S, read, str(file), *arguments)
        except OutlineError as error:
            raise OutlineError(str(error).replace(str(file), "the file")) from error
        except (TimeoutError, EOFError, OSError) as error:
            raise OutlineError(
                f"the file could not be read within {READ_S:g} s, or it made the library crash; expected {expected}"
            ) from error
        finally:
            helper.end()


def _started(memory_mib: int) -> Helper:
    """Return a helper process.

    Raises:
        ServiceUnavailable: The machine lacks memory for it, or is too slow just now.
    """
    try:
        return Helper(memory_mib)
    except (TimeoutError, EOFError, OSError) as error:
        raise ServiceUnavailable("no process to read the file could be started; try again", retry_after=10) from error
