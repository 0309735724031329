import pytest

from services.doubted_labels import MOST, NO_DOUBTS, DoubtedLabel, Doubts, from_tag, to_tag


def doubted(count: int) -> list[DoubtedLabel]:
    return [
        DoubtedLabel(label=7 + number, proposal=f"{number:032x}", doubt=0.5 - number / 1000) for number in range(count)
    ]


def test_labels_are_read_back_from_their_tag() -> None:
    assert from_tag(to_tag(doubted(2))) == tuple(doubted(2))
    assert to_tag(doubted(1)) == f'[{{"label":7,"proposal":"{"0" * 32}","doubt":0.5}}]'


def test_a_tag_holds_the_most_doubted_within_the_limit_of_mlflow() -> None:
    many = [DoubtedLabel(label=10**7 + number, proposal="f" * 32, doubt=10.125) for number in range(MOST + 1)]
    tag = to_tag(many)
    assert from_tag(tag) == tuple(many[:MOST])
    assert len(tag) <= 5000


@pytest.mark.parametrize("text", ["", "[1]", '[{"label":1}]'])
def test_a_tag_that_was_edited_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        from_tag(text)


def test_a_reason_names_them() -> None:
    assert NO_DOUBTS.told() == ""
    assert Doubts(6, tuple(doubted(1))).told() == "; 1 of 6 new labels stands out: 7 (+0.50)"
    assert Doubts(6, tuple(doubted(2))).told() == "; 2 of 6 new labels stand out: 7 (+0.50), 8 (+0.50)"
    assert Doubts(12, tuple(doubted(11))).told().endswith("16 (+0.49), ...")


def test_the_share_of_doubted_labels_counts_the_new_ones() -> None:
    assert Doubts(8, tuple(doubted(2))).share == 0.25
    assert NO_DOUBTS.share == 0
