import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.division import divide
from experiments.estimates import CLEAN_IOU, GLACIER_IOU, ICE_IOU, Estimate
from experiments.figures import CurvePanel, bars, lines
from experiments.findings import DASH, PUBLISHED, Findings, Row, Table, Value, score_table, values_by_name, write
from tests.experiments.study_areas import PATCH, half_ice, paint

NAN = float("nan")
DPI = 130

TABLE = Table(
    "Scores",
    "method",
    (
        Row("first", {CLEAN_IOU: Estimate(0.5, 0.125, 0.25, 0.75), f"{PUBLISHED}{CLEAN_IOU}": 0.5807, "windows": 12}),
        Row("second", {CLEAN_IOU: Estimate(0.25, NAN, 0.125, 0.5), f"{PUBLISHED}{CLEAN_IOU}": None, "windows": 7}),
        Row("third, not run", {CLEAN_IOU: None, "windows": 0, "gain": -0.0625}),
        Row("fourth", {CLEAN_IOU: Estimate(NAN, NAN, NAN, NAN), "gain": NAN, "kind": "undefined"}),
    ),
)
OTHER = Table("Shares", "part", (Row("first", {"share": 0.375}),))


def found() -> Findings:
    return Findings("trial", "Does it pay?", (TABLE, OTHER), ("A note.",), bars(TABLE, [CLEAN_IOU, "gain"]), {})


def markdown_tables(text: str) -> list[list[dict[str, str]]]:
    """The tables of a Markdown text, a dictionary a row."""
    tables = []
    for block in text.split("\n\n"):
        lines_of = [line for line in block.splitlines() if line.startswith("|")]
        if lines_of:
            head, rule, *rows = [[trial.strip() for trial in line.strip("|").split("|")] for line in lines_of]
            assert set(rule) == {"---"}
            assert {len(row) for row in rows} == {len(head)} == {len(rule)}
            tables.append([dict(zip(head, row, strict=True)) for row in rows])
    return tables


def test_columns_come_in_the_order_of_first_use_published_ones_last() -> None:
    assert TABLE.columns == (CLEAN_IOU, "windows", "gain", "kind", f"{PUBLISHED}{CLEAN_IOU}")


def test_markdown_shows_value_spread_and_interval(tmp_path: Path) -> None:
    markdown, _, _ = write(found(), tmp_path, ["A condition."])
    first, second, third, _ = markdown_tables(markdown.read_text())[0]
    assert first == {
        "method": "first",
        CLEAN_IOU: "0.500 ± 0.125 [0.250, 0.750]",
        "windows": "12",
        "gain": DASH,
        "kind": DASH,
        f"{PUBLISHED}{CLEAN_IOU}": "0.581",
    }
    assert second[CLEAN_IOU] == "0.250 [0.125, 0.500]"  # of a single seed
    assert (third[CLEAN_IOU], third["gain"], third["windows"]) == (DASH, "-0.062", "0")


def test_trap_undefined_and_unknown_values_are_a_dash_never_0(tmp_path: Path) -> None:
    markdown, _, _ = write(found(), tmp_path, [])
    _, second, third, fourth = markdown_tables(markdown.read_text())[0]
    assert (fourth[CLEAN_IOU], fourth["gain"], fourth["windows"]) == (DASH, DASH, DASH)
    assert (third[CLEAN_IOU], second[f"{PUBLISHED}{CLEAN_IOU}"]) == (DASH, DASH)
    assert "nan" not in markdown.read_text()


def test_markdown_has_the_question_the_picture_the_notes_and_the_conditions(tmp_path: Path) -> None:
    markdown, _, picture = write(found(), tmp_path, ["A condition."])
    text = markdown.read_text()
    assert text.startswith("## trial\n\nDoes it pay?\n\n**Scores**")
    assert f"]({picture.name})" in text
    assert text.endswith("- A note.\n- A condition.\n")


def test_markdown_and_csv_hold_the_same_numbers(tmp_path: Path) -> None:
    markdown, table, _ = write(found(), tmp_path, [])
    with table.open(newline="") as file:
        records = {(r["table"], r["row"], r["column"]): r for r in csv.DictReader(file)}
    seen = 0
    for title, rows in zip(("Scores", "Shares"), markdown_tables(markdown.read_text()), strict=True):
        for trials in rows:
            (_, name), *others = trials.items()
            for column, text in others:
                record = records.get((title, name, column))
                if text == DASH:
                    assert record is None or math.isnan(float(record["value"]))
                    continue
                assert record is not None
                assert text == as_text(record)
                seen += 1
    assert seen == 9


def as_text(record: dict[str, str]) -> str:
    """How Markdown shows a record of the CSV file."""
    value, spread, low, high = (record[name] for name in ("value", "spread", "low", "high"))
    if not low:
        return f"{float(value):.3f}" if "." in value else value
    plus = "" if math.isnan(float(spread)) else f" ± {float(spread):.3f}"
    return f"{float(value):.3f}{plus} [{float(low):.3f}, {float(high):.3f}]"


def test_values_by_name_are_all_numbers_except_published_ones() -> None:
    figures = values_by_name(found())
    assert {name: value for name, value in figures.items() if not math.isnan(value)} == {
        f"Scores/first/{CLEAN_IOU}": 0.5,
        "Scores/first/windows": 12.0,
        f"Scores/second/{CLEAN_IOU}": 0.25,
        "Scores/second/windows": 7.0,
        "Scores/third, not run/windows": 0.0,
        "Scores/third, not run/gain": -0.0625,
        "Shares/first/share": 0.375,
    }


@pytest.mark.parametrize("below", [None, CurvePanel("Weights", "step", {"a": ("#38bdf8", [1, 2], [0.5, 0.6])})])
def test_the_plot_of_bars_can_be_seen(tmp_path: Path, below: CurvePanel | None) -> None:
    figure = bars(TABLE, [CLEAN_IOU, "gain"], below)
    _, _, picture = write(Findings("trial", "?", (TABLE,), (), figure, {}), tmp_path, [])
    # Two panels of 2.6 inches beside the names; four rows, and the curves beneath.
    check_picture(picture, 3.2 + 2 * 2.6, 1.1 + 4 * 0.3 + (0 if below is None else 3.0))


def test_the_plot_of_lines_can_be_seen_with_empty_subsets(tmp_path: Path) -> None:
    curves: dict[str, tuple[str, list[Value]]] = {
        "binary": ("#0f4c75", [Estimate(0.5, NAN, 0.4, 0.6), Estimate(NAN, NAN, NAN, NAN)]),
        "multiclass": ("#f97316", [Estimate(0.6, NAN, 0.5, 0.7), Estimate(0.7, NAN, 0.6, 0.8)]),
    }
    figure = lines("IoU", "share of debris, %", [0.0, 1.0], curves, "glacier IoU")
    _, _, picture = write(Findings("trial", "?", (OTHER,), (), figure, {}), tmp_path, [])
    check_picture(picture, 6.4, 3.6)


def check_picture(path: Path, width_in: float, height_in: float) -> None:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == pytest.approx((width_in * DPI, height_in * DPI), abs=1)
        colours = picture.convert("RGB").getcolors(maxcolors=2**24)
    assert colours is not None
    assert len(colours) > 50  # of bars and letters


def test_files_are_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    first = write(found(), folder, ["first"])
    assert [path.name for path in first] == ["trial.md", "trial.csv", "trial.png"]
    assert write(found(), folder, ["second"]) == first
    assert "first" not in first[0].read_text().rsplit("- A note.", 1)[1]
    assert len(list(folder.iterdir())) == 3


def test_windows_are_written_by_division_and_area(tmp_path: Path) -> None:
    areas = [paint(tmp_path, half_ice(160, 128), name) for name in ("khumbu", "ngozumpa")]
    division = divide(areas, "random", PATCH, 0)
    one = Findings("heads", "?", (TABLE,), (), bars(TABLE, [CLEAN_IOU]), {"": division})
    thirds = replace(one, experiment="geography", divisions={"third-1": division, "third-2": division})
    _, _, _, *of_one = write(one, tmp_path, [])
    assert [path.name for path in of_one] == ["heads-windows-khumbu.geojson", "heads-windows-ngozumpa.geojson"]
    _, _, _, *of_thirds = write(thirds, tmp_path, [])
    assert [path.name for path in of_thirds] == [
        f"geography-windows-{third}-{area}.geojson"
        for third in ("third-1", "third-2")
        for area in ("khumbu", "ngozumpa")
    ]
    assert len(json.loads(of_one[0].read_text())["features"]) == 20


SURE = np.array([[[[9, 0, 0], [0, 5, 0], [0, 0, 5]]]])
BINARY = np.array([[[[8, 1], [5, 5]]]])


def test_a_score_table_compares_every_row_but_the_reference() -> None:
    published = {"all": {GLACIER_IOU: 0.9}}
    table = score_table("Scores", "head", {"all": SURE, "glacier": BINARY}, ICE_IOU, "all", published)
    assert [row.name for row in table.rows] == ["all", "glacier"]
    assert table.columns == (*ICE_IOU, f"{GLACIER_IOU}, less all", f"{PUBLISHED}{GLACIER_IOU}")
    of_all, of_glacier = (row.values for row in table.rows)
    assert (of_all[f"{GLACIER_IOU}, less all"], of_all[f"{PUBLISHED}{GLACIER_IOU}"]) == (None, 0.9)
    less = of_glacier[f"{GLACIER_IOU}, less all"]
    assert isinstance(less, Estimate)
    assert less.value == pytest.approx(5 / 11 - 1)
    assert (of_glacier[CLEAN_IOU], of_glacier[f"{PUBLISHED}{GLACIER_IOU}"]) == (None, None)


def test_columns_that_no_row_fills_are_left_out() -> None:
    table = score_table("Scores", "head", {"glacier": BINARY}, ICE_IOU, None, {"another row": {CLEAN_IOU: 0.9}})
    assert table.columns == (GLACIER_IOU,)
