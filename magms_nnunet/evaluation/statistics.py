"""Whether two systems differ on the same cases: Wilcoxon's signed-rank test with Holm's correction."""

from collections.abc import Sequence

import numpy as np

SMALLEST_N = 6
"""With fewer cases no two-sided p is below 0.05: even if all point the same way, p = 2 / 2^5 = 0.0625."""


def wilcoxon(differences: Sequence[float]) -> float:
    """Two-sided p of paired differences, one per case; 1 where none differs from zero, or there are none.

    Zeros are left out (Wilcoxon's own treatment); small samples get exact p-values. The test ranks the sizes of the
    differences, and so needs no normal distribution, which Dice and HD95 do not have.
    """
    from scipy import stats

    # Means of the same numbers can differ in the last bit; that is no difference, and would be ranked as one.
    differences = np.round(np.asarray(differences, float), 12)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979) over all the tests made; below 0.05 is significant as a family."""
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return corrected.tolist()
