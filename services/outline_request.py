"""The outlines that a request to register a scene names: by class, by a field that is mapped, or recognised."""

from collections.abc import Sequence

from imagery.classes import ClassScheme
from imagery.errors import OutlineError
from imagery.masks import OutlineLayer
from services.outline_check import propose_outlines
from services.scene_files import SceneFiles
from services.scene_request import OutlineRequest


def requested_outlines(
    requests: Sequence[OutlineRequest], files: SceneFiles, scheme: ClassScheme
) -> tuple[list[OutlineLayer], list[str]]:
    """Return the outlines of each class that a request names, and notes on how classes were told apart.

    Raises:
        SceneError: there is no such file, or the caller may not read it.
        OutlineError: a class is unknown, or it is not recognised how a layer tells its classes.
    """
    outlines: list[OutlineLayer] = []
    notes: list[str] = []
    for item in requests:
        path = files(item.path)
        if item.class_name is not None:
            outlines.append(OutlineLayer(path, item.layer, _class_name(item.class_name, scheme)))
        elif item.class_field is not None:
            outlines += _mapped(item, path, scheme)
        else:
            proposal, proposed = propose_outlines(path, item.layer, scheme)
            outlines += proposed
            notes += [f"{path}: {text}" for text in (proposal.describe(), *proposal.notes)]
    return outlines, notes


def _mapped(item: OutlineRequest, path: str, scheme: ClassScheme) -> list[OutlineLayer]:
    """Return the outlines of each class that the values of a field are mapped to."""
    values: dict[str, list[str]] = {}
    for value, class_name in (item.map or {}).items():
        name = class_name if class_name == scheme.background.name else _class_name(class_name, scheme)
        values.setdefault(name, []).append(value)
    return [
        OutlineLayer(path, item.layer, name, item.class_field, tuple(of_class)) for name, of_class in values.items()
    ]


def _class_name(name: str, scheme: ClassScheme) -> str:
    try:
        return scheme.by_name(name).name
    except ValueError as error:
        raise OutlineError(str(error)) from error
