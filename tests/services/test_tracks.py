from catalog.records import now
from catalog.registry import ModelVersion
from services.tracks import TrackPoint, tracks


def version(number: int, verdict: str, champion: str, mean_iou: str, gain: str = "nan") -> ModelVersion:
    tags = {"verdict": verdict, "champion_version": champion, "labels.count": str(6 * number)}
    figures = {"validation.mean_iou": mean_iou, "validation.gain.mean_iou": gain}
    return ModelVersion(number, f"run-{number}", now(), tags | figures)


FIRST = version(1, "promoted", "", "0.5")
KEPT = version(2, "kept", "1", "0.4", "-0.1")
SERVED = version(3, "promoted", "1", "0.7", "0.2")


def test_each_point_names_what_was_trained_and_what_was_served_then() -> None:
    assert tracks([SERVED, KEPT, FIRST]) == [
        TrackPoint(1, 6, {"validation": 0.5}, 1, {"validation": 0.5}),
        TrackPoint(2, 12, {"validation": 0.4}, 1, {"validation": 0.5}),
        TrackPoint(3, 18, {"validation": 0.7}, 3, {"validation": 0.7}),
    ]


def test_a_champion_need_not_be_listed() -> None:
    assert tracks([KEPT])[0] == tracks([KEPT, FIRST])[1]


def test_what_the_champion_scored_may_be_unknown() -> None:
    (point,) = tracks([version(2, "kept", "1", "0.4")])
    assert (point.mean_iou, point.served_version, point.served_mean_iou) == ({"validation": 0.4}, 1, {})


def test_versions_of_earlier_releases_were_compared_with_their_parent() -> None:
    tags = {"verdict": "kept", "parent_version": "1", "validation.mean_iou": "0.4"}
    earlier = ModelVersion(2, "run-2", now(), tags)
    assert tracks([earlier, FIRST])[1].served_version == 1
