import json
from dataclasses import replace

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
        TrackPoint(1, 6, {"validation": 0.5}, None, None, 1, {"validation": 0.5}),
        TrackPoint(2, 12, {"validation": 0.4}, None, None, 1, {"validation": 0.5}),
        TrackPoint(3, 18, {"validation": 0.7}, None, None, 3, {"validation": 0.7}),
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


def test_the_interval_is_that_of_the_gain_added_to_the_figure_of_what_was_served() -> None:
    """The champion has 0.5; the version gains 0.2, between 0.15 and 0.3: so it has 0.7, between 0.65 and 0.8."""
    judged = {"gain": 0.2, "low": 0.15, "high": 0.3, "outcome": "better"}
    gate = {"champion_version": 1, "confidence": 0.9, "margin": 0.02, "class_margin": 0.05, "mean_iou": judged}
    gate |= {
        "iou": {},
        "blocks": 40,
        "block_px": 32,
        "independent_blocks": 30.0,
        "blocks_needed": 40,
        "too_small": False,
    }
    (point,) = tracks([replace(SERVED, tags={**SERVED.tags, "gate.evidence": json.dumps(gate)})])
    assert (point.low, point.high) == (0.65, 0.8)
