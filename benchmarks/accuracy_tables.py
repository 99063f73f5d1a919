"""The tables of ``accuracy.py``, from the scores.csv of its evaluations."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from magms_nnunet.metrics.statistics import bootstrap_interval, holm, more_is_worse, wilcoxon


def write_tables(folder: Path, systems: list[str], patients: Mapping[str, str]) -> None:
    """Print and write tables.md and scores.csv of all folds and repeats of a budget.

    A mean is over patients, each of whom counts once: their cubes or scans, regions with a reference, folds and
    repeats are averaged first. Regions without a reference in a case do not count.
    """
    scores = read(folder, systems, patients)
    if scores.empty:
        print(f"{folder}: nothing is evaluated")
        return
    scores.to_csv(folder / "scores.csv", index=False)
    text = "\n\n".join([means(scores, systems), differences(scores, systems), additions(scores, systems)])
    (folder / "tables.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def read(folder: Path, systems: list[str], patients: Mapping[str, str]) -> pd.DataFrame:
    """A row per system, fold, repeat, case, subset and region with a reference."""
    tables = []
    for name in systems:
        pattern = f"repeat_*/evaluations/{name.replace(', ', '_').replace(' ', '_')}_fold*/scores.csv"
        for file in sorted(folder.glob(pattern)):
            table = pd.read_csv(file)
            tables.append(table[table["reference_mm3"] > 0].assign(system=name, run=str(file.parent)))
    if not tables:
        return pd.DataFrame()
    scores = pd.concat(tables, ignore_index=True)
    return scores.assign(patient=scores["case"].map(lambda case: patients.get(case, case)), size=sizes(scores))


def sizes(scores: pd.DataFrame) -> pd.Series:
    """Number of modalities of each row's subset."""
    return scores["subset"].str.count(r"\+") + 1


def per_patient(scores: pd.DataFrame) -> pd.Series:
    """Mean Dice of each patient."""
    return scores.groupby(["patient", "subset", "region"])["dice"].mean().groupby("patient").mean()


def groups(scores: pd.DataFrame) -> dict[str, Callable[[pd.DataFrame], pd.Series]]:
    """Column of a table -> the rows that it averages."""
    largest = scores["size"].max()
    columns: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
        "incomplete": lambda s: s["size"] < largest,
        "all": lambda s: s["size"] == largest,
    }
    columns |= {f"{k} modalities": lambda s, k=k: s["size"] == k for k in range(1, largest)}
    columns |= {
        f"{region}, incomplete": lambda s, region=region: (s["region"] == region) & (s["size"] < largest)
        for region in dict.fromkeys(scores["region"])
    }
    return columns | {
        subset: lambda s, subset=subset: s["subset"] == subset for subset in dict.fromkeys(scores["subset"])
    }


def means(scores: pd.DataFrame, systems: list[str]) -> str:
    """Mean Dice over patients; a row per group of subsets, a column per system."""
    lines = ["| Dice | " + " | ".join(systems) + " |", "|---" * (len(systems) + 1) + "|"]
    patients = [str(scores[scores["system"] == name]["patient"].nunique()) for name in systems]
    lines.append("| patients | " + " | ".join(patients) + " |")
    for column, rows in groups(scores).items():
        cells = []
        for name in systems:
            own = scores[(scores["system"] == name) & rows(scores)]
            cells.append(f"{per_patient(own).mean():.4f}" if len(own) else "")
        lines.append(f"| {column} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(scores: pd.DataFrame, systems: list[str]) -> str:
    """The first system minus each other, paired by patient, with a 95 % bootstrap interval and Holm's p."""
    rows, p_values = [], []
    first = scores[scores["system"] == systems[0]]
    for name in systems[1:]:
        other = scores[scores["system"] == name]
        for column, of_group in groups(scores).items():
            pair = per_patient(first[of_group(first)]), per_patient(other[of_group(other)])
            difference = (pair[0] - pair[1]).dropna()
            if len(difference):
                low, high = bootstrap_interval(difference)
                wins = f"{(difference > 0).mean():.0%}"
                rows.append(
                    [name, column, len(difference), f"{difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]", wins]
                )
                p_values.append(wilcoxon(difference))
    lines = [f"| {systems[0]} against | Dice | patients | difference [95 %] | better in | p (Holm) |", "|---" * 6 + "|"]
    for row, p in zip(rows, holm(p_values), strict=True):
        lines.append("| " + " | ".join(map(str, row)) + f" | {p:.2g} |")
    return "\n".join(lines)


def additions(scores: pd.DataFrame, systems: list[str]) -> str:
    """How often one more modality lowers the Dice, by case and by mean over patients."""
    lines = ["| one more modality | " + " | ".join(systems) + " |", "|---" * (len(systems) + 1) + "|"]
    by_case, by_mean = [], []
    for name in systems:
        own = scores[scores["system"] == name]
        table = own.groupby(["run", "case", "subset"])["dice"].mean().unstack("subset")
        by_subset = {frozenset(subset.split("+")): table[subset] for subset in table}
        worse, total = more_is_worse(by_subset)
        by_case.append(f"{worse / total:.1%}" if total else "")
        of_mean = {frozenset(subset.split("+")): [per_patient(rows).mean()] for subset, rows in own.groupby("subset")}
        worse, total = more_is_worse(of_mean, tolerance=0.0)
        by_mean.append(f"{worse} of {total}" if total else "")
    lines.append("| Dice of the case falls by more than 0.01 | " + " | ".join(by_case) + " |")
    lines.append("| mean over patients falls | " + " | ".join(by_mean) + " |")
    return "\n".join(lines)
