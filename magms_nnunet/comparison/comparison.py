"""Several systems on the cases that they share: a value per case, subset, metric and region."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from magms_nnunet.comparison.systems import System
from magms_nnunet.errors import InputError, listing
from magms_nnunet.metrics.guidance import guidance
from magms_nnunet.metrics.scores import METRICS, case_means
from magms_nnunet.metrics.statistics import bootstrap_interval, holm, more_is_worse, wilcoxon
from magms_nnunet.modalities import Modalities, Subset

if TYPE_CHECKING:
    import pandas as pd

TESTED = ("dice", "hd95_mm")


@dataclass(frozen=True)
class Comparison:
    """The data of the tables.

    Attributes:
        modalities: of the model with most modalities; they give the order of subsets.
        systems: to compare; the others are tested against the first.
        cases: that every system was scored on, from the same subsets; they may lack modalities.
        tolerance: loss of Dice that guidance accepts for a smaller subset.
    """

    modalities: Modalities
    systems: tuple[System, ...]
    cases: tuple[str, ...]
    tolerance: float

    @cached_property
    def subsets(self) -> list[Subset]:
        """Return the subsets that any system has."""
        present = set().union(*(system.scores["subset"] for system in self.systems))
        return [subset for subset in self.modalities.subsets() if self.modalities.format(subset) in present]

    @cached_property
    def regions(self) -> list[str]:
        """Return the regions in the order of the first system."""
        return list(dict.fromkeys(self.systems[0].scores["region"]))

    def values(self, system: System, subset: Subset, metric: str, region: str | None = None) -> "pd.Series | None":
        """Return a value per shared case, indexed by case; None where the system does not have the subset.

        Args:
            system: one of ``systems``.
            subset: one of ``subsets``.
            metric: one of ``METRICS``, or ``entropy_nats``, which has no regions and may lack cases.
            region: None: the mean over regions.
        """
        table = self._tables.get((system.name, metric, region))
        name = self.modalities.format(subset)
        return table[name].dropna() if table is not None and name in table and table[name].notna().any() else None

    @cached_property
    def _tables(self) -> dict[tuple[str, str, str | None], "pd.DataFrame"]:
        """Return (system, metric, region or None) -> values, a row per case and a column per subset."""
        tables = {}
        for system in self.systems:
            scores = system.scores[system.scores["case"].isin(self.cases)]
            groups = {None: case_means(scores)} | dict(iter(scores.groupby("region")))
            for metric in METRICS:
                for region, rows in groups.items():
                    tables[system.name, metric, region] = rows.pivot(index="case", columns="subset", values=metric)
            if system.entropy is not None:
                rows = system.entropy[system.entropy["case"].isin(self.cases)]
                tables[system.name, "entropy_nats", None] = rows.pivot(
                    index="case", columns="subset", values="entropy_nats"
                )
        return tables

    def tests(self) -> list[dict]:
        """Test every other system against the first with Wilcoxon's test, for Dice and HD95 of every common subset.

        ``difference`` is the mean over cases of the other system minus the first, ``low`` and ``high`` its 95 %
        bootstrap interval; ``p_holm`` is corrected for all the tests of the list.
        """
        first, tests = self.systems[0], []
        for system in self.systems[1:]:
            for subset in self.subsets:
                for metric in TESTED:
                    values, of_first = (self.values(one, subset, metric) for one in (system, first))
                    if values is None or of_first is None:
                        continue
                    differences = values - of_first
                    low, high = bootstrap_interval(differences)
                    tests.append(
                        {
                            **{"system": system.name, "against": first.name, "subset": self.modalities.format(subset)},
                            **{"metric": metric, "n": len(differences), "difference": float(differences.mean())},
                            **{"low": low, "high": high},
                            "p": wilcoxon(differences),
                        }
                    )
        corrected = holm([test["p"] for test in tests])
        return [test | {"p_holm": p} for test, p in zip(tests, corrected, strict=True)]

    def more_is_worse(self, system: System) -> tuple[int, int]:
        """Count additions of a modality that lower the Dice of a case by more than ``tolerance``, and all additions."""
        dice = {
            frozenset(subset): values.reindex(self.cases)
            for subset in self.subsets
            if (values := self.values(system, subset, "dice")) is not None
        }
        return more_is_worse(dice, self.tolerance)

    def guidance(self, system: System, region: str | None = None) -> dict | None:
        """Return the value of each modality for the system, from the cases that have all; ``cases`` is their number.

        None unless the system has all subsets of its modalities, and a case has all of them.
        """
        import pandas as pd

        evaluated = {name for evaluation in system.evaluations for name in evaluation.run["modalities"]}
        own = Modalities(tuple(name for name in self.modalities.names if name in evaluated))
        dice = {
            self.modalities.format(subset): values
            for subset in self.subsets
            if (values := self.values(system, subset, "dice", region)) is not None
        }
        names = [own.format(subset) for subset in own.subsets()]
        if any(name not in dice for name in names):
            return None
        paired = pd.DataFrame({name: dice[name] for name in names}).dropna()
        if paired.empty:
            return None
        means = {name: float(values.mean()) for name, values in paired.items()}
        return guidance(means, own.names, self.tolerance) | {"cases": len(paired)}


def shared_cases(systems: Sequence[System]) -> tuple[str, ...]:
    """Return the cases that every system was scored on, from the same subsets where two systems have a subset.

    Raises:
        InputError: there is no such case.
    """
    shared = set.intersection(*(system.cases for system in systems))
    for subset in set().union(*(system.scores["subset"] for system in systems)):
        # with a case that only some systems have an image of, their means would be of different cases
        have = [{case for case, of in system.scored if of == subset} for system in systems]
        have = [cases for cases in have if cases]
        shared -= set.union(*have) - set.intersection(*have)
    if not shared:
        sides = "; ".join(f"{system.name} has {listing(sorted(system.cases), 5) or 'none'}" for system in systems)
        raise InputError(f"no case is in all systems: {sides}: evaluate them on the same cases")
    return tuple(sorted(shared))


def trainings(system: System) -> list[dict]:
    """Return ``training`` of run.json of every model of the system, each model once; {} where it is unknown."""
    return list(
        {
            str(evaluation.run["model"].get("sha256") or evaluation.folder): evaluation.run.get("training") or {}
            for evaluation in system.evaluations
        }.values()
    )
