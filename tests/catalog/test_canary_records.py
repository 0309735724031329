"""Canary alerts that stand, on SQLite and on PostgreSQL, which count the entries of a JSON list differently."""

import numpy as np

from catalog.context import Catalog
from catalog.decision_records import Promotion
from catalog.paging import Cut
from services import canary


def test_only_alerts_that_nobody_has_acknowledged_stand(catalog: Catalog) -> None:
    alike, other = np.array([[90, 1], [1, 90]]), np.array([[0, 90], [90, 0]])
    with catalog.database.write() as session:
        for version, counts in ((2, alike), (3, other), (4, other)):
            decision = Promotion(
                model_version=version, previous_version=version - 1, verdict="promoted", reason="better", actor="gate"
            )
            session.add(decision)
            session.flush()
            canary.record(session, decision, 1, ["background", "ice"], counts, catalog.settings)
        canary.acknowledge(session, 2, "ann", "more snow")
    with catalog.read() as session:
        assert [item.id for item in canary.comparisons(session, Cut(10))] == [3, 2, 1]
        assert [item.id for item in canary.comparisons(session, Cut(10), standing=True)] == [3]
        assert canary.count_standing(session) == 1
