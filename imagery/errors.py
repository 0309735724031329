"""What can be wrong with what a user hands us. `al_server` maps these to HTTP statuses; nothing here knows HTTP."""


class SceneError(ValueError):
    """A raster, its grid, or a window or channel asked of it, cannot be used as given."""


class OutlineError(ValueError):
    """A vector file, or a polygon, cannot be turned into a label mask."""


class StoreError(ValueError):
    """A key is malformed, or nothing is stored under it."""
