"""What is asked of a data set, and the checks of it that read no pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.orm import Session

from catalog.records import Scene, SceneRole
from imagery.channels import CHANNEL_SETS
from imagery.errors import ExportError, SceneError
from services.dataset_windows import count_simulated, labelled_scenes
from services.scenes import source_of
from services.unit_rules import unit_of


class Form(StrEnum):
    """A form in which windows are written."""

    GEOTIFF = "geotiff"
    NPY = "npy"
    STAC = "stac"


@dataclass(frozen=True)
class DatasetRequest:
    """What to export.

    Attributes:
        roles: Scenes of these roles.
        simulated: Whether labels of a simulated annotator count as well; they are marked as such.
        channels: Names of channels and of channel sets; empty: the channels that all scenes have.
        forms: The forms to write.
        licence: SPDX identifier of the licence that the user gives the labels, or "other".
        title: Title of the data set.
    """

    roles: tuple[SceneRole, ...] = tuple(SceneRole)
    simulated: bool = False
    channels: tuple[str, ...] = ()
    forms: tuple[Form, ...] = tuple(Form)
    licence: str = "other"
    title: str = "Glacier labels and image windows"


def check_request(session: Session, request: DatasetRequest) -> tuple[str, ...]:
    """Check whether there is something to export, and whether all of it has the channels; return these in order.

    Args:
        session: A session for reading.
        request: What is asked for.

    Raises:
        ExportError: No form is asked for, or there is no label.
        SceneError: A scene lacks a channel, the scenes have none in common, or one has several units.
    """
    if not request.forms:
        raise ExportError(f"found no form to write; expected at least one of {', '.join(Form)}")
    scenes = list(labelled_scenes(session, request.roles, simulated=request.simulated))
    if not scenes:
        left_out = 0 if request.simulated else count_simulated(session)
        hint = f"; there are {left_out} of a simulated annotator: have them counted, too" if left_out else ""
        roles = ", ".join(role.value for role in request.roles)
        raise ExportError(
            f"found no labels in scenes of the roles {roles}; expected at least one labelled window{hint}"
        )
    return _choose_channels(request.channels, scenes)


def _choose_channels(wanted: Sequence[str], scenes: Sequence[Scene]) -> tuple[str, ...]:
    """Return the channels to export of one or more scenes; errors are those of `check_request`."""
    sources = {scene.name: source_of(scene) for scene in scenes}
    known = {name: source.channel_names for name, source in sources.items()}
    named = tuple(dict.fromkeys(_spelt_out(wanted)))
    if not named:
        first = next(iter(known.values()))
        named = tuple(name for name in first if all(name in names for names in known.values()))
        if not named:
            raise SceneError(f"found no channel that all of {', '.join(known)} have; export the roles one by one")
    for scene, names in known.items():
        if missing := [name for name in named if name not in names]:
            raise SceneError(f"{scene}: found no channel {', '.join(missing)}; expected some of {', '.join(names)}")
    for channel in named:
        units = {str(unit_of(source, channel)) for source in sources.values()}
        if len(units) > 1:
            raise SceneError(
                f"found the channel {channel} in {' and in '.join(sorted(units))}; expected one unit in a data set: "
                "export scenes of one role at a time, or other channels"
            )
    return named


def _spelt_out(wanted: Sequence[str]) -> Iterator[str]:
    for name in wanted:
        yield from CHANNEL_SETS.get(name, (name,))
