"""The tables of strategies over regions, and cells of other machines."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.label_efficiency import STROKES, load_from, merge, read_all, tables
from benchmarks.regions import SPECS
from experiments.cells import Unit, read, run_unit
from experiments.learning_loop import EVERY_PATCH
from imagery.synthetic_surface import Shares
from tests.experiments.tiny_region import TINY

ALL = ["random", "foreground_random", "class_power_entropy", "entropy_top10", EVERY_PATCH]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of a synthetic region that is replaced by a small one."""
    found, regions = tmp_path_factory.mktemp("cells"), tmp_path_factory.mktemp("regions")
    small = replace(SPECS["rare-ice"], size=(192, 256), cuts=(64, 192), shares=Shares(0.3, 0.05, 0.02), place="small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SPECS, "rare-ice", small)  # type: ignore[arg-type]
        run_unit(found, lambda name: load_from(regions, name), TINY, Unit("rare-ice", 0, tuple(ALL)))
    return found


def test_cells_of_another_machine_and_of_before_there_were_strokes_are_merged(cells: Path, tmp_path: Path) -> None:
    file, here = tmp_path / "cells.json", tmp_path / "here"
    here.mkdir()
    old = [json.loads(cell.read_text()) for cell in cells.glob("*.json")]
    for cell in old:
        del cell["config"]["annotator"]
        for each in cell["rounds"]:
            del each["drawn_pixels"], each["strokes"]
    file.write_text(json.dumps(old))
    assert merge(here, file) == len(ALL)
    assert read(here, TINY) == read(cells, TINY)


def test_all_tables_can_be_made_from_one_region(cells: Path) -> None:
    found = dict(tables(read(cells, TINY), ALL[:-1], TINY))
    primary = found["Primary figure: mean IoU at equal edited pixels"]
    assert [row["strategy"] for row in primary] == ["foreground_random", "class_power_entropy", "entropy_top10"]
    assert primary[0]["minus ice-first random"] == "—"
    assert all(rows for rows in found.values())
    assert "Curves with strokes" not in found


def test_strategies_with_strokes_are_compared_with_random_and_the_brush(cells: Path, tmp_path: Path) -> None:
    for (region, name, seed), rounds in read(cells, TINY).items():
        for annotator, share in (("brush", 1.0), ("strokes", 0.25)):
            drawn = [{**each, "drawn_pixels": share * each["drawn_pixels"]} for each in rounds]
            about = {"region": region, "strategy": name, "seed": seed, "rounds": drawn}
            config = {**json.loads(next(cells.glob("*.json")).read_text())["config"], "annotator": annotator}
            (tmp_path / f"{name}.{annotator}.json").write_text(json.dumps({**about, "config": config}))
    found = read_all(tmp_path, TINY)
    assert ("rare-ice", f"random{STROKES}", 0) in found
    rows = dict(tables(found, ALL[:-1], TINY))["Effort to 90 % of the ceiling, over random with the brush"]
    (row,) = [row for row in rows if row["strategy"] == f"random{STROKES}"]
    # The same curve at a quarter of the drawn pixels, at the same strokes.
    assert (row["drawn pixels"], row["strokes"]) == ("0.25 [0.25, 0.25]", "1.00 [1.00, 1.00]")


def test_the_benchmark_needs_no_gdal() -> None:
    code = (
        "import sys, benchmarks.label_efficiency\n"
        "print(sorted(name for name in ('rasterio', 'pyogrio', 'mlflow', 'flask') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
