"""The results of an experiment, tables and a plot, and how they are written to files."""

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
"""Prefix of the columns of published values."""


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, and values by column; a missing value is shown as a dash."""

    name: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: Title of the table.
        of_rows: Heading of the column with the names of the rows.
        rows: The rows; their columns appear in the order of first use.
    """

    title: str
    of_rows: str
    rows: tuple[Row, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, those of published values last."""
        found = list(dict.fromkeys(column for row in self.rows for column in row.values))
        return tuple(sorted(found, key=lambda column: column.startswith(PUBLISHED)))


@dataclass(frozen=True)
class Findings:
    """The results of an experiment.

    Attributes:
        experiment: Its name on the command line.
        question: The question that it answers, and the paper that asked it.
        tables: The tables.
        notes: Notes for the reader of the tables.
        figure: The plot.
        divisions: The windows behind the results, by name if there is more than one division.
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
    """Return a table of the scores of several kinds of networks on the same windows.

    Args:
        title: Title of the table.
        of_rows: Heading of the column with the names of the rows.
        counts: (B, S, K, K) by name of row, see `experiments.estimates.counts_of`.
        measures: Keys of `experiments.estimates.MEASURES`.
        reference: The row that the others are compared with.
        published: Published values by row and measure.
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
    """Write Markdown, CSV, PNG, and the windows as GeoJSON, all named after the experiment; return their paths.

    Args:
        findings: The results.
        folder: Gets the files; created if missing, files replaced if there.
        conditions: How the results were made, a line each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    markdown, table, picture = (folder / f"{findings.experiment}.{kind}" for kind in ("md", "csv", "png"))
    markdown.write_text(_markdown(findings, picture.name, conditions), encoding="utf-8")
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(_records(findings.tables))
    findings.figure.savefig(picture, dpi=130)
    return markdown, table, picture, *_write_windows(findings, folder)


def values_by_name(findings: Findings) -> dict[str, float]:
    """Return all numeric results, without published values, by "table/row/column"."""
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
        lines.append(f"| {row.name} | " + " | ".join(as_text(row.values.get(name)) for name in table.columns) + " |")
    return "\n".join(lines)


def as_text(value: Value) -> str:
    """Return a value with its spread and interval as the tables show it."""
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
    """Return one record a value, so that tables of any shape fit into one file."""
    records: list[list[object]] = [["table", "row", "column", "value", "spread", "low", "high", "blocks"]]
    for table in tables:
        for row in table.rows:
            for column in table.columns:
                value = row.values.get(column)
                if isinstance(value, Estimate):
                    blocks = "" if value.blocks is None else value.blocks
                    ends = (value.value, value.spread, value.low, value.high, blocks)
                    records.append([table.title, row.name, column, *ends])
                elif value is not None:
                    records.append([table.title, row.name, column, value, "", "", "", ""])
    return records
