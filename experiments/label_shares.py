"""How are the pixels distributed over the classes, masked ones included? (Aryal et al. 2023, table 2)."""

from typing import Final

import numpy as np

from experiments import published
from experiments.figures import bars
from experiments.findings import PUBLISHED, Findings, Row, Table, Value
from experiments.study import Study
from imagery.classes import GLACIER_SCHEME, UNKNOWN

MASKED: Final = "masked/unknown"
SHARES: Final = {**{item.name: item.value for item in GLACIER_SCHEME.classes}, MASKED: UNKNOWN}


def run(study: Study) -> Findings:
    """Count the labels of the windows of each part. No network is trained."""
    rows = []
    for part in study.division.named():
        masks = np.stack(list(study.masks(part)))
        values: dict[str, Value] = {name: float((masks == value).mean()) for name, value in SHARES.items()}
        values["windows"] = len(masks)
        values |= {f"{PUBLISHED}{name}": published.LABEL_SHARES[part][name] for name in SHARES}
        rows.append(Row(part, values))
    table = Table("Shares of all pixels of the windows", "part", tuple(rows))
    return Findings(
        "label-shares",
        "How are the pixels distributed over the classes, masked ones included? Aryal et al. 2023, table 2.",
        (table,),
        (
            "Masked/unknown are pixels outside the labelled area, under cloud, or without data in any band. Both here "
            "and in the paper the windows are those with glacier in at least a tenth, so the shares are not those of "
            "the scenes.",
        ),
        bars(table, tuple(SHARES)),
        {"": study.division},
    )
