"""``comparison.html``: the differences other than the models, the tables of a comparison, and paired figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from magms_nnunet.comparison.comparison import Comparison
from magms_nnunet.comparison.text_table import TextTable
from magms_nnunet.metrics.statistics import bootstrap_interval
from magms_nnunet.report.page import write_page
from magms_nnunet.report.plots import Line, interval_plot

if TYPE_CHECKING:
    from markupsafe import Markup

_AXES = {"dice": "difference in Dice", "hd95_mm": "difference in HD95, mm"}


def write_comparison_page(
    target: Path, data: Comparison, differences: TextTable | None, tables: Sequence[TextTable]
) -> None:
    """Write the page.

    Args:
        target: file to write.
        data: the comparison.
        differences: between the systems other than their models; None: none is recorded.
        tables: all other tables, in order.
    """
    content = {
        "systems": [system.name for system in data.systems],
        "cases": len(data.cases),
        "differences": differences,
        "figures": paired_figures(data),
        "tables": tables,
    }
    write_page(target, "comparison.html", content)


def paired_figures(data: Comparison) -> list[tuple[str, "Markup"]]:
    """Return file name and figure: every other system minus the first, by case, in every common subset."""
    first, figures = data.systems[0], []
    for number, system in enumerate(data.systems[1:], 1):
        for metric, axis in _AXES.items():
            lines = []
            for subset in data.subsets:
                values, of_first = (data.values(one, subset, metric) for one in (system, first))
                if values is not None and of_first is not None:
                    paired = values - of_first
                    name = data.modalities.format(subset)
                    lines.append(Line(name, tuple(paired), float(paired.mean()), *bootstrap_interval(paired)))
            if lines:
                title = f"{system.name} minus {first.name}: {axis}"
                figures.append((f"paired_{metric}_{number}", interval_plot(title, f"{axis}, case by case", lines)))
    return figures
