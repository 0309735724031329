import pytest

from cli.demo_table import print_rounds
from cli.round_record import RoundRecord, predicted_classes
from imagery.classes import GLACIER_SCHEME


def record(*classes: str) -> RoundRecord:
    """A first round whose version tells these classes apart, with an IoU of 0.5 each."""
    iou = dict.fromkeys(("mean", *classes), 0.5)
    return RoundRecord(
        round=1,
        strategy="random",
        labels=6,
        version=1,
        parent=None,
        promoted=True,
        verdict="the first version",
        iou={"validation": iou, "test": iou},
        gain={},
        champion=1,
        seconds={"label": 1.0},
    )


def test_versions_tell_the_classes_of_the_glacier_scheme_apart() -> None:
    assert predicted_classes([record(*GLACIER_SCHEME.names)]) == GLACIER_SCHEME.classes


def test_versions_with_a_binary_head_tell_glacier_from_background() -> None:
    assert [(item.name, item.value) for item in predicted_classes([record("background", "glacier")])] == [
        ("background", 0),
        ("glacier", 1),
    ]


@pytest.mark.parametrize("classes", [GLACIER_SCHEME.names, ("background", "glacier")])
def test_the_table_has_a_column_for_each_class_that_is_told_apart(
    classes: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    print_rounds([record(*classes)], 60.0)
    printed = capsys.readouterr().out
    assert printed.count("0.500") == 1 + len(classes)
    for name in classes:
        assert name.split()[0] in printed
