"""A label that was saved before its annotator's labels were withdrawn, and is ingested afterwards."""

from pathlib import Path

from catalog import withdrawals
from catalog.context import Catalog
from catalog.records import EventState, now
from catalog.withdrawal_records import Withdrawal
from tests.catalog_fixtures import NOON
from tests.workers.desk import box, brush, saved, sit_down, updated

DRAWN = [brush(box(2, 2, 20, 20))]


def test_a_label_that_waited_is_withdrawn_and_one_submitted_anew_stands(catalog: Catalog, tmp_path: Path) -> None:
    desk = sit_down(catalog, tmp_path / "scene.tif")
    (waiting,) = desk.receive(saved(desk.first, DRAWN, minutes=1))
    with catalog.database.write() as session:
        taken = Withdrawal(annotator="unknown", since=NOON, reason="shifted", actor="a person", withdrawn_at=now())
        withdrawals.withdraw(session, taken, [])
    desk.ingest(waiting)
    late = desk.event(waiting)
    assert late.state is EventState.APPLIED
    assert late.detail == "saved before withdrawal 1 of this annotator's labels, so withdrawn, too"
    assert desk.standing() == []
    assert desk.states()[:2] == ("abandoned", "unlabelled")
    assert desk.deliver(updated(desk.first, DRAWN, minutes=2)).detail is None
    assert len(desk.standing()) == 1
    assert desk.states()[:2] == ("labelled", "labelled")
