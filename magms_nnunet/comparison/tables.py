"""The tables of a comparison, in the layouts of arXiv 2306.03730."""

from collections.abc import Iterable, Sequence

from magms_nnunet.comparison.comparison import TESTED, Comparison, trainings
from magms_nnunet.comparison.published import ARXIV, PublishedTable
from magms_nnunet.comparison.systems import System
from magms_nnunet.comparison.text_table import Cell, TextTable
from magms_nnunet.metrics.scores import spread
from magms_nnunet.metrics.statistics import SMALLEST_N

TITLES = {"dice": "Dice", "hd95_mm": "HD95 in mm"}
SIGN = {"dice": 1, "hd95_mm": -1}  # factor with which more is better
NOTHING = "–"
BEST = "Bold: the best of the compared systems, ties to 3 decimals."

Column = tuple[str, Sequence[str | Cell]]
"""Title and a cell per subset."""


def cases_table(data: Comparison) -> TextTable:
    """Make the table of the compared cases and of those that are left out."""
    rows = []
    for system in data.systems:
        own = set(system.scores["case"])
        rows.append([system.name, str(len(own)), ", ".join(sorted(own - set(data.cases))) or "none"])
    note = f"Compared on the cases that all systems have, n = {len(data.cases)}: {', '.join(data.cases)}."
    if len(set(_counts(data))) > 1:
        note += (
            " Cases lack modalities: each subset is compared on those that have it, so subsets differ in their cases."
        )
    return TextTable("Cases", ["System", "Cases", "Left out"], rows, note)


def main_table(data: Comparison, quoted: PublishedTable | None) -> TextTable:
    """Make tables 1 and 2 of the paper: the mean Dice of every subset, a system per column."""
    columns: list[Column] = [(system.name, _cells(data, system, "dice", variance=True)) for system in data.systems]
    note = f"Mean over cases of the mean over regions ± standard deviation (variance). {BEST}"
    if quoted:
        columns += _quoted_columns(data, quoted, f" [published, other data set: arXiv {ARXIV}, Table {quoted.number}]")
        note += f" {quoted.title}; never ranked."
    columns.append(("n", _counts(data)))
    return _by_subset(data, "Dice of every subset", columns, note)


def side_by_side(data: Comparison) -> TextTable:
    """Make table 3 of the paper: Dice and HD95."""
    columns: list[Column] = [
        (f"{title}: {system.name}", _cells(data, system, metric))
        for metric, title in TITLES.items()
        for system in data.systems
    ]
    note = (
        f"Mean ± standard deviation over cases. {BEST} Where one mask is empty HD95 is the image's diagonal; "
        "with 374 mm instead, as BraTS does, it is hd95_brats_mm in comparison_scores.csv."
    )
    return _by_subset(data, "Dice and HD95", _with_counts(data, columns), note)


def per_region(data: Comparison, system: System, metric: str) -> TextTable:
    """Make tables 4 and 5 of the paper: every region of one system.

    Args:
        data: the comparison.
        system: one of its systems.
        metric: a column of scores.csv, ``dice`` or ``hd95_mm``.
    """
    columns: list[Column] = [("mean", _cells(data, system, metric))]
    columns += [(region, _cells(data, system, metric, region)) for region in data.regions]
    note = f"Mean ± standard deviation over cases. {BEST}"
    return _by_subset(data, f"{TITLES[metric]} per region: {system.name}", _with_counts(data, columns), note)


def published_table(data: Comparison, table: PublishedTable) -> TextTable:
    """Make the table of printed results of the paper, in our rows."""
    return _by_subset(data, table.title, _quoted_columns(data, table), "Quoted, not measured here, and never ranked.")


def wins_table(data: Comparison) -> TextTable:
    """Make the table of the subsets in which each other system is better, equal or worse than the first."""
    first, rows = data.systems[0], []
    for system in data.systems[1:]:
        row = [system.name]
        for metric in TESTED:
            pairs = [
                (_mean(data, system, subset, metric), _mean(data, first, subset, metric)) for subset in data.subsets
            ]
            signs = [SIGN[metric] * (a - b) for a, b in pairs if a is not None and b is not None]
            better, worse = sum(sign > 0 for sign in signs), sum(sign < 0 for sign in signs)
            row += [f"{better} of {len(signs)}", str(len(signs) - better - worse), str(worse)]
        rows.append(row)
    header = ["System", *(f"{title}: {what}" for title in TITLES.values() for what in ("better", "tied", "worse"))]
    note = "Means over cases, compared to 3 decimals; subsets that both have."
    return TextTable(f"Subsets won against {first.name}", header, rows, note)


def tests_table(data: Comparison, tests: Sequence[dict]) -> TextTable:
    """Make the table of differences to the first system, with p-values."""
    rows = [
        [
            *(test["system"], test["subset"], TITLES[test["metric"]], str(test["n"])),
            *(f"{test['difference']:+.3f}", f"{test['low']:+.3f} to {test['high']:+.3f}"),
            *(_p(test["p"]), _p(test["p_holm"])),
        ]
        for test in tests
    ]
    note = (
        f"Wilcoxon's signed-rank test, two-sided, paired by case; Holm's correction over all {len(tests)} tests of "
        "this table. Difference: the system minus the first one, mean over cases. Interval: bootstrap over cases."
    )
    if len(data.cases) < SMALLEST_N:
        note += f" With n = {len(data.cases)}, fewer than {SMALLEST_N}, no p below 0.05 is possible."
    header = ["System", "Subset", "Metric", "n", "Difference", "95 % interval", "p", "p (Holm)"]
    return TextTable(f"Tests against {data.systems[0].name}", header, rows, note)


def training_table(data: Comparison) -> TextTable:
    """Make the table of the cost of each system's training."""
    rows = []
    for system in data.systems:
        of_system = trainings(system)
        seconds = [training.get("seconds") for training in of_system]
        total = sum(value for value in seconds if value is not None)
        hours = f"{total / 3600:.2f}" if total else NOTHING
        if total and None in seconds:
            hours += f" for {len(seconds) - seconds.count(None)} of {len(seconds)}"
        own = system.scores["subset"].nunique()
        epochs, pace = (_range(training.get(key) for training in of_system) for key in ("epochs", "seconds_per_epoch"))
        rows.append([system.name, str(len(of_system)), str(own), epochs, pace, hours])
    header = ["System", "Models trained", "Subsets evaluated", "Epochs", "Seconds per epoch", "Hours in all"]
    subsets = len(data.modalities.subsets())
    note = (
        f"A model per subset would be 2^{len(data.modalities)} - 1 = {subsets} trainings; one for any subset is one. "
        "Hours are those of the machine that trained, and compare only on the same one."
    )
    return TextTable("Cost of training", header, rows, note)


def entropy_table(data: Comparison) -> TextTable | None:
    """Make the table of predictive entropy, which measures the paper's Theorem 1; None where it was not measured."""
    columns, first = [], data.systems[0]
    for system in data.systems:
        columns.append((system.name, [_entropy(data, system, subset) for subset in data.subsets]))
    for system in data.systems[1:]:
        cells = []
        for subset in data.subsets:
            values, of_first = (data.values(one, subset, "entropy_nats") for one in (system, first))
            difference = None if values is None or of_first is None else (values - of_first).dropna()
            cells.append(NOTHING if difference is None or difference.empty else _mean_sd(difference, "+.4f"))
        columns.append((f"{system.name} minus {first.name}", cells))
    if all(cell == NOTHING for _, cells in columns for cell in cells):
        return None
    note = (
        "Nats, mean over the voxels of a case; mean ± standard deviation over cases, differences paired by case. "
        f"Theorem 1 of arXiv {ARXIV} says that parameters exist for which self-distillation lowers it. Low entropy is "
        "certainty, not correctness."
    )
    return _by_subset(data, "Predictive entropy", columns, note)


def guidance_table(data: Comparison, system: System) -> TextTable | None:
    """Make the table of the value of each modality for the system; None unless it has all subsets."""
    found = data.guidance(system)
    if found is None:
        return None
    keys = ("shapley", "alone", "gain", "dropped")
    rows = [[name, *(f"{found[key][name]:.3f}" for key in keys)] for name in found["shapley"]]
    best, smallest, complete = found["best"], found["smallest_within_tolerance"], found["complete"]
    worse, total = data.more_is_worse(system)
    hurts = [
        f"{pair['added']} to {pair['subset']} ({pair['dice_before']:.3f} to {pair['dice_after']:.3f})"
        for pair in found["hurts"]
    ]
    of_cases = "" if found["cases"] == len(data.cases) else f"Of the {found['cases']} cases with all modalities. "
    note = (
        f"{of_cases}Best: {best['subset']} ({best['dice']:.3f}); all: {complete['dice']:.3f}; the smallest within "
        f"{smallest['tolerance']:g} of the best: {smallest['subset']} ({smallest['dice']:.3f}). "
        f"Adding lowers the mean Dice: {', '.join(hurts) or 'never'}. "
        f"It lowers the Dice of a case by more than {data.tolerance:g} in {worse} of {total} additions. "
        "Shapley: mean gain over all orders of arrival, nothing at all counting as 0."
    )
    header = ["Modality", "Shapley value", "Alone", "Mean gain when added", "Loss when left out of all"]
    return TextTable(f"What each modality adds to Dice: {system.name}", header, rows, note)


def models_table(data: Comparison) -> TextTable:
    """Make the table of the evaluations, folder by folder."""
    rows = []
    for system in data.systems:
        for evaluation in system.evaluations:
            run, model = evaluation.run, evaluation.run["model"]
            settings = ", ".join(f"{key} {value}" for key, value in (run.get("settings") or {}).items())
            rows.append(
                [
                    *(system.name, str(model.get("dataset", NOTHING)), str(model.get("name", NOTHING))),
                    " ".join(map(str, model.get("folds") or [NOTHING])),
                    *(str(model.get("sha256") or NOTHING)[:12], run["protocol"], str(run.get("fill") or NOTHING)),
                    settings or NOTHING,
                ]
            )
    header = ["System", "Dataset", "Model", "Folds", "SHA-256", "Protocol", "Fill", "Settings"]
    return TextTable("Models", header, rows)


def _by_subset(data: Comparison, title: str, columns: Sequence[Column], note: str) -> TextTable:
    """Make a table with a row per subset and a dot per modality."""
    dots = [data.modalities.dots(subset).split() for subset in data.subsets]
    rows = [[*marks, *cells] for marks, *cells in zip(dots, *(cells for _, cells in columns), strict=True)]
    return TextTable(title, [*data.modalities.names, *(title for title, _ in columns)], rows, note)


def _counts(data: Comparison) -> list[str]:
    """Return the number of cases of each subset, which is the same for every system that has it."""
    of_systems = ([data.values(system, subset, "dice") for system in data.systems] for subset in data.subsets)
    return [str(next(len(values) for values in of_subset if values is not None)) for of_subset in of_systems]


def _with_counts(data: Comparison, columns: list[Column]) -> list[Column]:
    """Return the columns, with the number of cases where subsets differ in it."""
    counts = _counts(data)
    return columns if len(set(counts)) == 1 else [*columns, ("n", counts)]


def _cells(
    data: Comparison, system: System, metric: str, region: str | None = None, variance: bool = False
) -> list[Cell]:
    cells = []
    for subset in data.subsets:
        values = data.values(system, subset, metric, region)
        if values is None:
            cells.append(Cell(NOTHING))
            continue
        means = [_mean(data, other, subset, metric, region) for other in data.systems]
        comparable = [SIGN[metric] * mean for mean in means if mean is not None]
        own = _mean(data, system, subset, metric, region)
        best = len(comparable) > 1 and own is not None and SIGN[metric] * own == max(comparable)
        cells.append(Cell(_mean_sd(values, variance=variance), best))
    return cells


def _mean(
    data: Comparison, system: System, subset: tuple[int, ...], metric: str, region: str | None = None
) -> float | None:
    """Return the mean to 3 decimals, at which ties are decided; None where the system lacks the subset."""
    values = data.values(system, subset, metric, region)
    return None if values is None else round(float(values.mean()), 3)


def _mean_sd(values: Iterable[float], form: str = ".3f", variance: bool = False) -> str:
    of_cases = spread(list(values))
    text = f"{of_cases['mean']:{form}}"
    if of_cases["n"] > 1:
        text += f" ± {of_cases['sd']:{form.lstrip('+')}}" + (f" ({of_cases['variance']:.3f})" if variance else "")
    return text


def _entropy(data: Comparison, system: System, subset: tuple[int, ...]) -> str:
    values = data.values(system, subset, "entropy_nats")
    return NOTHING if values is None else _mean_sd(values, ".4f")


def _quoted_columns(data: Comparison, table: PublishedTable, mark: str = "") -> list[Column]:
    return [
        (f"{title}{mark}", [cells.get(subset, NOTHING) for subset in data.subsets])
        for title, cells in table.columns.items()
    ]


def _range(values: Iterable[float | None]) -> str:
    texts = sorted({f"{value:g}" for value in values if value is not None}, key=float)
    return " to ".join(dict.fromkeys([texts[0], texts[-1]])) if texts else NOTHING


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
