"""A lower bound of Dice for one patient, by split-conformal prediction.

The score of a calibration case is the excess of the network's own estimate over the Dice, ``r = estimate - dice``.
Where a new case is exchangeable with the n calibration cases, ``dice >= estimate - q`` holds with a probability of at
least the coverage, ``q`` being the ``ceil((n + 1) * coverage)``-th smallest score. The network may be any.

Source: J. Lei, M. G'Sell, A. Rinaldo, R. Tibshirani, L. Wasserman, "Distribution-Free Predictive Inference for
Regression", JASA 113 (2018), algorithm 2 and theorem 2.2, one-sided; A. Angelopoulos, S. Bates, arXiv 2107.07511.
"""

import math
from collections.abc import Sequence

COVERAGE = 0.9


def lower_bound(estimate: float, residuals: Sequence[float], coverage: float = COVERAGE) -> float | None:
    """Return a lower bound of the Dice of a case, from 0 to 1; None: the calibration cases are too few.

    Args:
        estimate: the network's own, of the new case.
        residuals: estimate minus Dice of each calibration case.
        coverage: the share of cases for which the bound shall hold, between 0 and 1.
    """
    rank = math.ceil((len(residuals) + 1) * coverage)
    if rank > len(residuals):
        return None
    return min(max(estimate - sorted(residuals)[rank - 1], 0.0), 1.0)
