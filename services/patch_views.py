"""The views of a patch that are stored for its annotator: their names, and what people read beside them."""

from typing import Final

from imagery.map_views import map_views
from imagery.scene_source import SceneSource

TRUE_COLOUR: Final = "true-colour"
UNCERTAINTY: Final = "uncertainty"
SURROUNDINGS: Final = "surroundings"


def field_of(view: str) -> str:
    """Return the key of a view in `catalog.records.Proposal.views`."""
    return view.replace("-", "_")


def titles_of(source: SceneSource) -> dict[str, tuple[str, str]]:
    """Return title and hint of each view that a scene allows, by its name, in the order in which people see them."""
    return {view.name: (view.title, view.hint or ", ".join(view.channels)) for view in map_views(source).values()} | {
        UNCERTAINTY: ("Model's doubt", "light where the model is unsure, dark where it is certain"),
        SURROUNDINGS: ("Surroundings", "False colour; the patch is framed."),
    }
