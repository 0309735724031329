"""What an experiment found: tables and a figure, and how they are written."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from experiments.division import Division, footprints
from experiments.estimates import Counts, Estimate, difference, estimate

Value = Estimate | float | int | str | None

DASH: Final = "–"
PUBLISHED: Final = "published "
"""What the columns of published figures begin with."""


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, and values by column; a missing one is a dash."""

    name: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: What it shows.
        of_rows: What the rows are.
        rows: The rows; their columns appear in the order of first use.
    """

    title: str
    of_rows: str
    rows: tuple[Row, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, those of published figures last."""
        found = list(dict.fromkeys(column for row in self.rows for column in row.values))
        return tuple(sorted(found, key=lambda column: column.startswith(PUBLISHED)))


@dataclass(frozen=True)
class Findings:
    """What an experiment found.

    Attributes:
        experiment: Its name on the command line.
        question: What it asks, and whose experiment it was.
        tables: The tables.
        notes: What a reader must know to read them.
        figure: The figure.
        divisions: The windows that it was found on, by name if there is more than one division.
    """

    experiment: str
    question: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    figure: Figure
    divisions: Mapping[str, Division]


def score_table(
    title: str,
    of_rows: str,
    counts: Mapping[str, Counts],
    measures: Sequence[str],
    reference: str | None = None,
    published: Mapping[str, Mapping[str, float]] | None = None,
) -> Table:
    """Score several kinds of networks on the same windows.

    Args:
        title: What the table shows.
        of_rows: What the rows are.
        counts: (B, S, K, K) by name of row, see `experiments.estimates.counts_of`.
        measures: Keys of `experiments.estimates.MEASURES`.
        reference: The row that the others are compared with.
        published: Published figures by row and measure.
    """
    rows = []
    for name, of_row in counts.items():
        values: dict[str, Value] = {measure: estimate(of_row, measure) for measure in measures}
        if reference is not None and reference in counts:
            for measure in measures:
                less = None if name == reference else difference(of_row, counts[reference], measure)
                values[f"{measure}, less {reference}"] = less
        if published is not None:
            values |= {f"{PUBLISHED}{measure}": published.get(name, {}).get(measure) for measure in measures}
        rows.append(Row(name, values))
    return Table(title, of_rows, _without_empty_columns(rows))


def write(findings: Findings, folder: Path, conditions: Sequence[str]) -> tuple[Path, ...]:
    """Write Markdown, CSV, PNG, and the windows as GeoJSON, all named after the experiment.

    Args:
        findings: What was found.
        folder: Gets the files; created if missing, files replaced if there.
        conditions: How it was found, a line each.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    markdown, table, picture = (folder / f"{findings.experiment}.{kind}" for kind in ("md", "csv", "png"))
    markdown.write_text(_markdown(findings, picture.name, conditions), encoding="utf-8")
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(_records(findings.tables))
    findings.figure.savefig(picture, dpi=130)
    return markdown, table, picture, *_write_windows(findings, folder)


def figures_of(findings: Findings) -> dict[str, float]:
    """Return every number found, by "table/row/column" (published ones are not ours)."""
    return {
        f"{table.title}/{row.name}/{column}": float(value.value if isinstance(value, Estimate) else value)
        for table in findings.tables
        for row in table.rows
        for column, value in row.values.items()
        if isinstance(value, Estimate | float | int) and not column.startswith(PUBLISHED)
    }


def _write_windows(findings: Findings, folder: Path) -> list[Path]:
    written = []
    for name, division in findings.divisions.items():
        for area, document in footprints(division).items():
            path = folder / f"{'-'.join(filter(None, (findings.experiment, 'windows', name, area)))}.geojson"
            path.write_bytes(document)
            written.append(path)
    return written


def _without_empty_columns(rows: Sequence[Row]) -> tuple[Row, ...]:
    used = {column for row in rows for column, value in row.values.items() if value is not None}
    return tuple(
        Row(row.name, {column: value for column, value in row.values.items() if column in used}) for row in rows
    )


def _markdown(findings: Findings, picture: str, conditions: Sequence[str]) -> str:
    parts = [f"## {findings.experiment}", findings.question]
    parts += [_markdown_table(table) for table in findings.tables]
    parts.append(f"![{findings.tables[0].title}]({picture})")
    parts.append("\n".join(f"- {line}" for line in (*findings.notes, *conditions)))
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    lines = [f"**{table.title}**", ""]
    lines.append(f"| {table.of_rows} | " + " | ".join(table.columns) + " |")
    lines.append("|" + "---|" * (len(table.columns) + 1))
    for row in table.rows:
        lines.append(f"| {row.name} | " + " | ".join(_text(row.values.get(name)) for name in table.columns) + " |")
    return "\n".join(lines)


def _text(value: Value) -> str:
    if isinstance(value, Estimate):
        if math.isnan(value.value):
            return DASH
        spread = "" if math.isnan(value.spread) else f" ± {value.spread:.3f}"
        interval = "" if math.isnan(value.low) else f" [{value.low:.3f}, {value.high:.3f}]"
        return f"{value.value:.3f}{spread}{interval}"
    if isinstance(value, float):
        return DASH if math.isnan(value) else f"{value:.3f}"
    return DASH if value is None else str(value)


def _records(tables: Sequence[Table]) -> list[list[object]]:
    """One record a number, so that tables of any shape share a file."""
    records: list[list[object]] = [["table", "row", "column", "value", "spread", "low", "high"]]
    for table in tables:
        for row in table.rows:
            for column in table.columns:
                value = row.values.get(column)
                if isinstance(value, Estimate):
                    records.append([table.title, row.name, column, value.value, value.spread, value.low, value.high])
                elif value is not None:
                    records.append([table.title, row.name, column, value, "", "", ""])
    return records
