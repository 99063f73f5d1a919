"""Statistics of differences between systems on the same cases: Wilcoxon with Holm, bootstrap, more is worse."""

from collections.abc import Mapping, Sequence

import numpy as np

SMALLEST_N = 6
"""With fewer cases no two-sided p is below 0.05: even if all have one sign, p = 2 / 2^5 = 0.0625."""


def wilcoxon(differences: Sequence[float]) -> float:
    """Return the two-sided p of paired differences, one per case; 1 where all are zero, or there are none.

    Zeros are left out (Wilcoxon's own treatment); small samples get exact p-values. The test ranks the sizes of the
    differences, and so needs no normal distribution; those of Dice and HD95 are not normal.
    """
    from scipy import stats

    # Means of the same numbers can differ in the last bit, and must not be ranked.
    rounded = np.round(np.asarray(differences, float), 12)
    nonzero = rounded[rounded != 0]
    if not len(nonzero):
        return 1.0
    return float(stats.wilcoxon(nonzero).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Apply Holm's step-down correction (Holm 1979) over all tests; below 0.05 is significant as a family."""
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    stepped = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return corrected.tolist()


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the mean, with the values resampled with replacement.

    Args:
        values: one per patient, such as paired differences; at least one.
        level: of the interval.
        resamples: number of bootstrap samples.
        seed: of the resampling, so that the same values have the same interval.

    Raises:
        ValueError: there are no values.
    """
    of_patients = np.asarray(values, float)
    n = len(of_patients)
    if not n:
        raise ValueError("an interval needs at least one value")
    drawn = np.random.default_rng(seed).integers(0, n, (resamples, n))
    low, high = np.quantile(of_patients[drawn].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def more_is_worse(dice: Mapping[frozenset, Sequence[float]], tolerance: float = 0.01) -> tuple[int, int]:
    """Count the additions of a modality that lower the Dice of a case by more than ``tolerance``.

    Args:
        dice: subset -> a value per case, in the same order of cases for each subset; NaN where a case lacks it.
        tolerance: largest loss that does not count.

    Returns:
        The number of such triples of case, subset and added modality, and that of all triples.
    """
    worse = total = 0
    for subset, values in dice.items():
        for larger, others in dice.items():
            if subset < larger and len(larger) == len(subset) + 1:
                loss = np.asarray(values, float) - np.asarray(others, float)
                worse += int((loss > tolerance).sum())
                total += int(np.isfinite(loss).sum())
    return worse, total
