"""Errors in the files and values that a user gives. The HTTP status of each is decided by `al_server`, not here."""


class SceneError(ValueError):
    """A raster, its grid, a window or a channel cannot be used as given."""


class UnreadableFileError(SceneError):
    """A file of a scene is missing, truncated, damaged, of another format, or another one than was registered.

    Attributes:
        path: The file, as the scene names it.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


class OutlineError(ValueError):
    """A vector file, or a polygon, cannot be turned into a label mask."""


class UnreadableOutlinesError(OutlineError):
    """A vector file is missing, or cannot be opened or read."""


class StoreError(ValueError):
    """A key of the raster store is malformed, or nothing is stored under it."""


class DamagedFileError(StoreError):
    """A file of the raster store is not what was stored. It counts as absent from now on.

    Attributes:
        key: Its key.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class ExportError(ValueError):
    """A data set or a set of outlines cannot be written as asked, or a folder does not hold one."""
