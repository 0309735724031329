"""Errors in the files and values that a user gives. The HTTP status of each is decided by `al_server`, not here."""


class SceneError(ValueError):
    """A raster, its grid, a window or a channel cannot be used as given."""


class OutlineError(ValueError):
    """A vector file, or a polygon, cannot be turned into a label mask."""


class StoreError(ValueError):
    """A key of the raster store is malformed, or nothing is stored under it."""


class ExportError(ValueError):
    """A data set or a set of outlines cannot be written as asked, or a folder does not hold one."""
