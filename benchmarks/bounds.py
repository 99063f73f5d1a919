"""How often the bound of a patient's Dice holds, on cases that it was not calibrated on.

    python benchmarks/bounds.py fold0 fold1 fold2 fold3 fold4

Every folder is one of magms_evaluate. First, each evaluation is divided into random halves, one to calibrate on and one
to count on: other patients, the same model. Then each evaluation is calibrated on and the cases of all others are
bounded: other patients and another model, which is not what the bound promises. A line per number of modalities says in
which share the Dice is at least its bound, beside the interval that holds 95 % of such shares where the bound is exact.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from magms_nnunet.metrics.scores import read_scores, read_table
from magms_nnunet.trust.conformal import COVERAGE, lower_bound

KEYS = ["case", "subset", "region"]


def read(folder: Path) -> pd.DataFrame:
    """Dice and the network's own estimate per case, subset and region."""
    estimates = read_table(folder / "soft_dice.csv", KEYS, ("soft_dice",))
    return read_scores(folder / "scores.csv")[[*KEYS, "dice"]].merge(estimates, on=KEYS)


def bounded(calibration: pd.DataFrame, cases: pd.DataFrame, coverage: float = COVERAGE) -> pd.DataFrame:
    """The cases with ``bound``, calibrated per subset and region; without those that cannot be bounded."""
    parts = []
    known = dict(iter(calibration.groupby(["subset", "region"])))
    for key, rows in cases.groupby(["subset", "region"]):
        if key not in known:
            continue
        residuals = (known[key]["soft_dice"] - known[key]["dice"]).tolist()
        parts.append(rows.assign(bound=[lower_bound(value, residuals, coverage) for value in rows["soft_dice"]]))
    return pd.concat(parts).dropna(subset="bound")


def by_size(rows: pd.DataFrame) -> pd.DataFrame:
    """Per number of modalities: how many bounds, the share that holds, mean bound and mean Dice."""
    rows = rows.assign(holds=rows["dice"] >= rows["bound"], modalities=rows["subset"].str.count(r"\+") + 1)
    grouped = rows.groupby("modalities")
    table = grouped.agg(
        bounds=("holds", "size"),
        cases=("case", "nunique"),
        share=("holds", "mean"),
        bound=("bound", "mean"),
        dice=("dice", "mean"),
    )
    return table.reset_index()


def interval(cases: int, coverage: float = COVERAGE) -> tuple[float, float]:
    """The binomial interval of 95 % of a share of so many independent cases."""
    low, high = stats.binom.interval(0.95, cases, coverage)
    return low / cases, high / cases


def measure(folders: Sequence[Path]) -> pd.DataFrame:
    """The table over all ordered pairs of folders."""
    tables = {folder: read(folder) for folder in folders}
    pairs = [(one, other) for one in folders for other in folders if one != other]
    return by_size(pd.concat([bounded(tables[one], tables[other]) for one, other in pairs]))


def measure_halves(folders: Sequence[Path], repeats: int = 100) -> pd.DataFrame:
    """The table over random halves of each folder's cases."""
    rng, parts = np.random.default_rng(0), []
    for table in map(read, folders):
        cases = table["case"].unique()
        for _ in range(repeats):
            half = table["case"].isin(rng.permutation(cases)[: len(cases) // 2])
            parts.append(bounded(table[half], table[~half]))
    return by_size(pd.concat(parts))


def main() -> None:
    """Print both tables."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folders", nargs="+", type=Path, help="evaluations of models of different folds")
    args = p.parse_args()
    tables = {"halves of each evaluation": measure_halves(args.folders)}
    if len(args.folders) > 1:
        tables["other evaluations"] = measure(args.folders)
    for name, table in tables.items():
        low, high = np.array([interval(cases) for cases in table["cases"]]).T
        print(f"{name}\n{table.assign(low=low, high=high).round(3).to_string(index=False)}")


if __name__ == "__main__":
    main()
