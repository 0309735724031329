from catalog.records import now
from catalog.registry import ModelVersion
from services.tracks import TrackPoint, tracks


def version(number: int, verdict: str, champion: str, mean_iou: str) -> ModelVersion:
    tags = {"verdict": verdict, "champion_version": champion, "labels.count": str(6 * number)}
    return ModelVersion(number, f"run-{number}", now(), tags | {"validation.mean_iou": mean_iou})


FIRST = version(1, "promoted", "", "0.5")
KEPT = version(2, "kept", "1", "0.4")
SERVED = version(3, "promoted", "1", "0.7")


def nothing(number: int) -> None:
    raise AssertionError(f"version {number} is listed already")


def test_each_point_names_what_was_trained_and_what_was_served_then() -> None:
    assert tracks([SERVED, KEPT, FIRST], nothing) == [
        TrackPoint(1, 6, {"validation": 0.5}, 1, {"validation": 0.5}),
        TrackPoint(2, 12, {"validation": 0.4}, 1, {"validation": 0.5}),
        TrackPoint(3, 18, {"validation": 0.7}, 3, {"validation": 0.7}),
    ]


def test_a_champion_that_is_not_listed_is_fetched() -> None:
    assert tracks([KEPT], {1: FIRST}.get)[0].served_mean_iou == {"validation": 0.5}
    deleted = tracks([KEPT], {}.get)
    assert [(point.version, point.served_version, point.served_mean_iou) for point in deleted] == [(2, 1, {})]


def test_versions_of_earlier_releases_were_compared_with_their_parent() -> None:
    tags = {"verdict": "kept", "parent_version": "1", "validation.mean_iou": "0.4"}
    earlier = ModelVersion(2, "run-2", now(), tags)
    assert tracks([earlier, FIRST], nothing)[1].served_version == 1
