"""The labels that a version learnt and that stand out, as MLflow, API and command line tell of them.

`workers.label_doubts` finds them. Annotators are not named in MLflow: the lineage of a version tells who drew a label.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

MOST: Final = 50
"""Labels that are named, those that stand out most; a tag of MLflow holds 8,000 characters at most."""
DECIMALS: Final = 3
_NAMED: Final = 10  # in a sentence


class DoubtedLabel(BaseModel):
    """A label that the champion doubts, which had not learnt it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: int = Field(description="its id")
    proposal: str = Field(description="the uid of the proposal that it answers")
    doubt: float = Field(
        description="loss of the champion on it beyond the loss that the champion expected, nats a pixel"
    )


_LABELS: Final = TypeAdapter(tuple[DoubtedLabel, ...])


def to_tag(labels: Sequence[DoubtedLabel]) -> str:
    """Return the text of the tag that holds them; `from_tag` reads it."""
    return json.dumps([label.model_dump() for label in labels[:MOST]], separators=(",", ":"))


def from_tag(text: str) -> tuple[DoubtedLabel, ...]:
    """Return the labels that a tag holds.

    Raises:
        ValueError: It was edited and cannot be read.
    """
    return _LABELS.validate_json(text)


@dataclass(frozen=True)
class Doubts:
    """What the champion says of the labels that are new to it.

    Attributes:
        new: Number of labels of the training that it has not learnt and that name a class.
        labels: Those of them that stand out, the most doubted first.
    """

    new: int
    labels: tuple[DoubtedLabel, ...]

    @property
    def share(self) -> float:
        """Share of the new labels that stand out, in [0, 1]."""
        return len(self.labels) / self.new if self.new else 0.0

    def told(self) -> str:
        """Return the end of the reason of a version that is not served; empty if no label stands out."""
        if not self.labels:
            return ""
        verb = "stands" if len(self.labels) == 1 else "stand"
        named = ", ".join(f"{item.label} ({item.doubt:+.2f})" for item in self.labels[:_NAMED])
        more = ", ..." if len(self.labels) > _NAMED else ""
        return f"; {len(self.labels)} of {self.new} new labels {verb} out: {named}{more}"


NO_DOUBTS: Final = Doubts(0, ())
"""Before there is a champion."""
