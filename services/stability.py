"""Have the predictions of successive versions stabilised? Kappa between each and the one before, on unlabelled ground.

The second signal to stop by, beside the expected gain (`services.forecast`), and the only one that needs no labels:
"stabilizing predictions" (Bloodgood & Vijay-Shanker 2009, arXiv:1409.5165) compares what successive models predict for
a fixed set of examples, and stops when Cohen's kappa stays at .99 or above over three comparisons. A kappa of T or more
bounds the change of the F-measure of a class by 4 (1 - T) / T: .04 for .99 (Bloodgood & Grothendieck 2013,
arXiv:1504.06329).

Nearly all pixels are background, so that versions may agree about the whole and not about a rare class. Here every
class has to agree, each against the rest, and not the whole alone. What agreement does not tell is whether the versions
are right: labels of another kind (another scene, a class that neither predicts, which has no kappa) may still teach
much.

`workers.stability` compares the maps that the scorings keep; a row of a scoring keeps the result.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.records import Scoring

SUCCESSIVE: Final = 3
"""Comparisons in a row that must agree."""


@dataclass(frozen=True)
class Agreement:
    """How far a version and the one that scored before it predict alike on a sample of unlabelled patches.

    Attributes:
        version: The version.
        before: The version that it is compared with: the newest one before it whose maps were kept.
        patches: Number of patches compared.
        kappa: Cohen's kappa over all classes; None without pixels, or if both predict a single class.
        kappa_of: The same of each class against the rest; None for a class that neither predicts.
        pixels_of: Pixels that either of them predicts to be of each class: a kappa of few says little.
    """

    version: int
    before: int
    patches: int
    kappa: float | None
    kappa_of: tuple[float | None, ...]
    pixels_of: tuple[int, ...]

    @property
    def least(self) -> float | None:
        """The lowest kappa, of the whole or of a class; None without any."""
        return min((value for value in (self.kappa, *self.kappa_of) if value is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the agreement as the row of a scoring keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Agreement":
        """Return the agreement that the row of a scoring keeps."""
        return cls(**{**kept, "kappa_of": tuple(kept["kappa_of"]), "pixels_of": tuple(kept["pixels_of"])})

    def metrics(self, classes: Sequence[str]) -> dict[str, float]:
        """Return the defined kappas by their names in MLflow."""
        named = {"stability.kappa": self.kappa}
        named |= {f"stability.kappa.{name}": value for name, value in zip(classes, self.kappa_of, strict=False)}
        return {name: value for name, value in named.items() if value is not None}


def read(session: Session, limit: int = SUCCESSIVE) -> list[Agreement]:
    """Return the agreements of the newest versions that were compared, newest first; one for each version."""
    compared = select(Scoring).where(Scoring.stability.is_not(None))
    rows = session.scalars(compared.order_by(Scoring.model_version.desc(), Scoring.id.desc()).limit(4 * limit))
    found: dict[int, Agreement] = {}
    for row in rows:  # a version that served again was scored twice
        found.setdefault(row.model_version, Agreement.from_json(row.stability or {}))
    return list(found.values())[:limit]


def has_stabilised(agreements: Sequence[Agreement], least: float) -> bool:
    """Return whether the last comparisons, each with the version of the next, all agree.

    Args:
        agreements: Newest first.
        least: Least kappa, of the whole and of each class, that counts as agreement.
    """
    last = agreements[:SUCCESSIVE]
    chained = all(newer.before == older.version for newer, older in pairwise(last))
    kappas = [agreement.least for agreement in last]
    return len(last) == SUCCESSIVE and chained and all(kappa is not None and kappa >= least for kappa in kappas)
