"""The gate's evidence as API, command line and MLflow hold it: `models.gate.GateEvidence`, which describes the fields.

Rooms that may not import `models` read it here.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True)


class GainFigures(_Figures):
    """A gain of IoU over the champion with its interval; null where undefined."""

    gain: float | None
    low: float | None
    high: float | None
    outcome: Literal["better", "not worse", "worse", "cannot tell"]


class GateFigures(_Figures):
    """What a decision of the gate rests on."""

    champion_version: int
    confidence: float
    margin: float
    class_margin: float
    mean_iou: GainFigures
    iou: dict[str, GainFigures]
    blocks: int
    block_px: int
    independent_blocks: float
    blocks_needed: int | None
    too_small: bool

    def metrics(self) -> dict[str, float]:
        """Return the defined figures by their names in MLflow."""
        flat: dict[str, float | None] = {
            "gate.blocks": self.blocks,
            "gate.blocks_needed": self.blocks_needed,
            "gate.independent_blocks": self.independent_blocks,
        }
        named = {"mean_iou": self.mean_iou, **{f"iou.{name}": of_class for name, of_class in self.iou.items()}}
        for name, of_class in named.items():
            flat |= {f"gate.{name}.{end}": getattr(of_class, end) for end in ("gain", "low", "high")}
        return {name: value for name, value in flat.items() if value is not None}
