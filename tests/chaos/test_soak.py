"""The tables of a soak, from samples of a system whose API leaks handles while all else is constant."""

from benchmarks.report import markdown
from chaos.growth import Verdict
from chaos.soak import WARM_UP_SHARE, flat_rows, judged, store_rows
from chaos.usage import FILES, RSS, ProcessUsage, Sample

STORES = (
    "Redis, memory",
    "Redis, file",
    "catalog",
    "Label Studio, database",
    "MLflow, database",
    "MLflow, artifacts",
    "masks, maps, views",
    "logs",
    "data folder",
)


def at(number: int) -> Sample:
    """The system after `number` times 15 s, a label event and 1 kB in each store each time."""
    api = ProcessUsage(1, 1000.0, 100 * 2**20, 60 * 2**20, threads=9, files=20 + number // 10)
    clock = ProcessUsage(2, 1000.0, 50 * 2**20, 30 * 2**20, threads=3, files=12)
    events = {"label event": number, "round": number // 8, "fine-tune": number // 4}
    return Sample(15.0 * number, {"api": [api], "clock": [clock]}, dict.fromkeys(STORES, 1000 * number), events)


SAMPLES = [at(number) for number in range(241)]  # an hour


def test_the_warm_up_is_left_out() -> None:
    assert judged(SAMPLES)[0].at_s == WARM_UP_SHARE * 3600


def test_each_part_has_a_row_for_each_series_and_a_leak_is_found() -> None:
    found = {(row["part"], row["series"]): row for row in flat_rows(judged(SAMPLES))}
    assert found["clock", RSS]["level"] == 50.0
    assert found["clock", RSS]["verdict"] == Verdict.FLAT.value
    assert (found["api", FILES]["first"], found["api", FILES]["last"]) == (28, 44)
    growing = {name for name, row in found.items() if row["verdict"] == Verdict.GROWS.value}
    assert growing == {("api", FILES), ("redis", "used_memory, MiB")}


def test_stores_are_judged_by_what_an_event_adds() -> None:
    rows = store_rows(judged(SAMPLES))
    found = {row["store"]: row for row in rows}
    assert found["catalog"]["kB in the later half"] == "1.0 [1.0, 1.0]"
    assert found["MLflow, database"]["per"] == "fine-tune"
    assert {row["verdict"] for row in rows} == {Verdict.FLAT.value}
    assert markdown(rows).count("\n") == 1 + len(rows)
