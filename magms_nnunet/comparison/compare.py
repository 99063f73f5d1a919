"""Compares evaluation folders and writes the result as a page, Markdown, LaTeX and CSV."""

from collections.abc import Sequence
from pathlib import Path

from magms_nnunet.comparison import tables
from magms_nnunet.comparison.comparability import differences_table
from magms_nnunet.comparison.comparison import Comparison, shared_cases, trainings
from magms_nnunet.comparison.page import write_comparison_page
from magms_nnunet.comparison.published import ARXIV, PublishedTable, published_tables
from magms_nnunet.comparison.systems import read_systems
from magms_nnunet.comparison.text_table import TextTable, latex, markdown
from magms_nnunet.errors import InputError
from magms_nnunet.metrics.scores import METRICS, spread
from magms_nnunet.storage.csv_files import write_csv
from magms_nnunet.storage.files import check_writable, is_hidden, write_then_rename


def compare(
    arguments: Sequence[str],
    output: str | Path,
    published: bool = False,
    tolerance: float = 0.01,
    overwrite: bool = False,
) -> str:
    """Write comparison.html, comparison.md, comparison.tex and comparison_*.csv.

    Systems that were predicted or trained with other settings are compared, and page and texts begin with what differs.

    Args:
        arguments: ``[NAME=]FOLDER[,FOLDER...]`` per system.
        output: folder for the files.
        published: whether to quote the paper's figures.
        tolerance: loss of Dice that guidance accepts for a smaller subset.
        overwrite: whether to write into a folder that is not empty.

    Returns:
        The differences other than the models, the compared cases and the main table, as Markdown.

    Raises:
        InputError: the folders cannot be compared, or the output folder is not free or cannot be written to.
    """
    output = Path(output)
    modalities, systems = read_systems(arguments)
    if output.resolve() in {e.folder.resolve() for system in systems for e in system.evaluations}:
        raise InputError(f"-o {output} is one of the folders to compare: name another one")
    _check_free(output, overwrite)
    data = Comparison(modalities, tuple(systems), shared_cases(systems), tolerance)
    quoted = published_tables(modalities) if published else []
    if published and not quoted:
        raise InputError(f"--published: no table of arXiv {ARXIV} is about {modalities.listing()}: leave the flag out")
    cases, main = tables.cases_table(data), tables.main_table(data, quoted[0] if quoted else None)
    tests = data.tests()
    rest = _further_tables(data, tests, quoted[1:])
    differences = differences_table(data)
    first = [cases, main] if differences is None else [differences, cases, main]
    everything = [*first, *rest]
    check_writable(output)
    write_comparison_page(output / "comparison.html", data, differences, [cases, main, *rest])
    _write(output / "comparison.md", "# Comparison\n\n" + "\n".join(map(markdown, everything)))
    _write(output / "comparison.tex", "% to \\input into a document\n" + "\n".join(map(latex, everything)))
    apart = [] if differences is None else [dict(zip(differences.header, r, strict=True)) for r in differences.rows]
    _write_csv(output / "comparison_differences.csv", apart)
    _write_csv(output / "comparison_scores.csv", _score_rows(data))
    _write_csv(output / "comparison_tests.csv", tests)
    _write_csv(output / "comparison_training.csv", _training_rows(data))
    _write_csv(output / "comparison_guidance.csv", _guidance_rows(data))
    return "\n".join(map(markdown, first))


def _further_tables(data: Comparison, tests: list[dict], quoted: Sequence[PublishedTable]) -> list[TextTable]:
    """Make the tables after the main one, in their order."""
    made: list[TextTable | None] = [
        tables.side_by_side(data),
        *(tables.per_region(data, system, metric) for metric in tables.TITLES for system in data.systems),
        *([tables.wins_table(data), tables.tests_table(data, tests)] if len(data.systems) > 1 else []),
        tables.training_table(data),
        tables.entropy_table(data),
        *(tables.guidance_table(data, system) for system in data.systems),
        *(tables.published_table(data, table) for table in quoted),
        tables.models_table(data),
    ]
    return [table for table in made if table is not None]


def _check_free(output: Path, overwrite: bool) -> None:
    try:
        if output.exists() and not output.is_dir():
            raise InputError(f"-o {output} is a file: name a folder")
        if output.is_dir() and not all(map(is_hidden, output.iterdir())) and not overwrite:
            raise InputError(f"-o {output} is not empty: name another folder, or add --overwrite")
    except OSError as error:
        raise InputError(f"-o {output} cannot be read ({error.strerror}): name another folder") from error


def _score_rows(data: Comparison) -> list[dict]:
    """Return a row per system, subset, region (empty for their mean) and metric; entropy is one of the metrics."""
    wanted = [(metric, region) for metric in METRICS for region in (None, *data.regions)] + [("entropy_nats", None)]
    return [
        {
            **{
                "system": system.name,
                "subset": data.modalities.format(subset),
                "region": region or "",
                "metric": metric,
            },
            **spread(values),
        }
        for system in data.systems
        for subset in data.subsets
        for metric, region in wanted
        if (values := data.values(system, subset, metric, region)) is not None
    ]


def _training_rows(data: Comparison) -> list[dict]:
    keys = ("epochs", "seconds", "seconds_per_epoch", "modalities")
    return [
        {"system": system.name, **{key: training.get(key) for key in keys}}
        for system in data.systems
        for training in trainings(system)
    ]


def _guidance_rows(data: Comparison) -> list[dict]:
    return [
        {
            **{"system": system.name, "region": region or "", "modality": modality},
            **{key: found[key][modality] for key in ("shapley", "alone", "gain", "dropped")},
        }
        for system in data.systems
        for region in (None, *data.regions)
        if (found := data.guidance(system, region)) is not None
        for modality in found["shapley"]
    ]


def _write(path: Path, text: str) -> None:
    write_then_rename(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def _write_csv(path: Path, rows: Sequence[dict]) -> None:
    """Write a table; for an empty one remove the file of an earlier comparison."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    write_csv(path, list(rows[0]), (row.values() for row in rows))
