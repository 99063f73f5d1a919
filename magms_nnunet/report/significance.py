"""Tests whether the best subset is significantly better than the others."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from magms_nnunet.metrics.statistics import bootstrap_interval, holm, wilcoxon

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05


@dataclass(frozen=True)
class AgainstBest:
    """A subset against the best one, on the cases that have all subsets.

    Attributes:
        difference: mean Dice of the subset minus that of the best, with its 95 % interval ``low`` to ``high``.
        p: of Wilcoxon's signed-rank test, paired by case, after Holm's correction over all subsets.
    """

    difference: float
    low: float
    high: float
    p: float

    @property
    def is_told_apart(self) -> bool:
        """Whether the best subset is significantly better or worse than this one."""
        return self.p < LEVEL


@dataclass(frozen=True)
class Significance:
    """The subset with the highest mean Dice, and every other one against it.

    Attributes:
        best: name of the subset.
        cases: number of cases that have all subsets.
        others: name -> comparison, in the order of the subsets.
    """

    best: str
    cases: int
    others: dict[str, AgainstBest]

    @property
    def not_told_apart(self) -> list[str]:
        """Return the subsets that may be as good."""
        return [name for name, other in self.others.items() if not other.is_told_apart]


def against_best(means: "pd.DataFrame") -> Significance | None:
    """Compare the subsets on the cases that have all of them; None: no such case, or one subset.

    Args:
        means: columns case, subset and dice, see :func:`magms_nnunet.metrics.scores.case_means`.
    """
    table = means.pivot(index="case", columns="subset", values="dice")[list(dict.fromkeys(means["subset"]))].dropna()
    if table.empty or len(table.columns) < 2:
        return None
    best = str(table.mean().idxmax())
    differences = {str(name): table[name] - table[best] for name in table if name != best}
    corrected = holm([wilcoxon(values) for values in differences.values()])
    return Significance(
        best,
        len(table),
        {
            name: AgainstBest(float(values.mean()), *bootstrap_interval(values), p)
            for (name, values), p in zip(differences.items(), corrected, strict=True)
        },
    )
