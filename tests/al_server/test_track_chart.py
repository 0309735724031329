from al_server.track_chart import draw
from services.tracks import TrackPoint


def point(version: int, learner: float | None, served: float | None) -> TrackPoint:
    return TrackPoint(version, version, {"validation": learner}, 1, {"validation": served})


def test_both_tracks_share_one_scale() -> None:
    chart = draw([point(4, 0.5, 0.5), point(5, 0.4, 0.5), point(6, 0.6, 0.6)])
    assert chart is not None
    assert chart.learner == "8.0,80.0 320.0,152.0 632.0,8.0"
    assert chart.served == "8.0,80.0 320.0,80.0 632.0,8.0"
    assert (chart.first, chart.last, chart.low, chart.high) == (4, 6, 0.4, 0.6)


def test_an_undefined_figure_is_left_out_and_equal_ones_make_a_flat_line() -> None:
    chart = draw([point(1, 0.5, None), point(2, 0.5, 0.5)])
    assert chart is not None
    assert (chart.learner, chart.served) == ("8.0,152.0 632.0,152.0", "632.0,152.0")


def test_one_version_makes_no_curve() -> None:
    assert draw([point(1, 0.5, 0.5)]) is None
    assert draw([point(1, None, None), point(2, None, None)]) is None
