"""What a network expects in each input channel: its unit and scale, as model cards and ONNX files state them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

INPUT_DESCRIPTION: Final = (
    "values in the units of `input_channels` (the caller applies scale and offset to the numbers of a file), float32, "
    "(N, C, H, W): batch, channel in the order of `channels`, row, column; NaN = nodata"
)


class InputChannel(BaseModel):
    """One input channel of a network.

    Attributes:
        name: The channel's name ("nir", "ndsi").
        unit: Unit of the values that the network takes: "reflectance", "digital number", "K", "m", "degree" or "1".
        computed_from: Unit of the bands that an index is computed from. An index of digital numbers differs from the
            index of reflectances of the same ground. None if the channel is read and not computed.
        scale: Scale of the training scenes' files: value = stored number x `scale` + `offset`. None if the channel is
            computed, or the scenes differ: then each product's own metadata applies.
        offset: Offset of the training scenes' files, None like `scale`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    unit: str
    computed_from: str | None = None
    scale: float | None = None
    offset: float | None = None


_DIGITAL_NUMBER: Final = "digital number"
# Derived channels of cards of format 1; everything else was a digital number.
_FORMER_UNITS: Final[Mapping[str, Mapping[str, str]]] = {
    **{index: {"unit": "1", "computed_from": _DIGITAL_NUMBER} for index in ("ndvi", "ndsi", "ndwi")},
    "elevation": {"unit": "m"},
    "slope": {"unit": "degree"},
}


def channels_of_format_1(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the JSON of `InputChannel` for the channels of a card that states no units: bands were digital numbers."""
    stored = {"unit": _DIGITAL_NUMBER, "scale": 1.0, "offset": 0.0}
    return [{"name": name, **_FORMER_UNITS.get(name, stored)} for name in names]


def onnx_metadata(channels: Sequence[InputChannel], levels: Sequence[str], sensors: Sequence[str]) -> dict[str, str]:
    """Return what an ONNX file says about its input, as its metadata properties: texts, lists as JSON."""
    return {
        "input": INPUT_DESCRIPTION,
        "channels": json.dumps([channel.name for channel in channels]),
        "input_channels": json.dumps([channel.model_dump(mode="json") for channel in channels]),
        "levels": json.dumps(list(levels)),
        "sensors": json.dumps(list(sensors)),
    }
