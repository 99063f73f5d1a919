from itertools import product

import numpy as np
import pytest

from magms_nnunet.metrics.statistics import SMALLEST_N, bootstrap_interval, holm, more_is_worse, wilcoxon


def exact(differences):
    """Two-sided p by trying all signs of the ranks."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    sums = np.array([np.dot(signs, ranks) for signs in product((-1, 1), repeat=len(ranks))])
    return np.mean(np.abs(sums) >= abs(np.dot(np.sign(differences), ranks)))


@pytest.mark.parametrize("seed", range(5))
def test_small_samples_are_exact(seed):
    differences = np.random.default_rng(seed).normal(0.4, 1, 8)
    assert wilcoxon(differences) == pytest.approx(exact(differences))
    assert wilcoxon(-differences) == pytest.approx(wilcoxon(differences))


def test_by_hand():
    # all six of one sign: 2 of the 2^6 assignments of signs are that extreme
    assert wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == pytest.approx(2 / 64)
    # a zero is left out
    assert wilcoxon([0.1, 0.2, 0.3, 0, 0.4, 0.5, 0.6]) == pytest.approx(2 / 64)


def test_few_cases_cannot_be_significant():
    assert SMALLEST_N == 6
    for n in range(1, SMALLEST_N):
        assert wilcoxon(np.arange(1, n + 1)) == pytest.approx(2 / 2**n)
        assert wilcoxon(np.arange(1, n + 1)) > 0.05


@pytest.mark.parametrize("differences", [[], [0.0], [0, 0, 0], [1e-17, -1e-17, 0]])
def test_no_difference_at_all(differences):
    assert wilcoxon(differences) == 1


def test_holm_by_hand():
    # 0.01 * 4, 0.02 * 3, 0.03 * 2 (not below the one before), 0.5 * 1
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_a_bootstrap_interval_holds_the_mean_and_is_reproducible():
    values = np.linspace(-1, 3, 50)
    low, high = bootstrap_interval(values)
    assert low < 1 < high
    # standard error of the mean: 1.178 / sqrt(50) = 0.1666
    assert high - low == pytest.approx(2 * 1.96 * 0.1666, rel=0.05)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval([0.25]) == (0.25, 0.25)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])


def test_more_is_worse_counts_additions_of_one_modality():
    a, b, c = "abc"
    dice = {
        frozenset(a): [0.5, 0.5],
        frozenset(b): [0.3, 0.6],
        frozenset(a + b): [0.495, 0.4],  # 0.1 worse than a and 0.2 than b in the second case
        frozenset(a + b + c): [0.9, 0.9],  # two more than a and b: only compared with a + b
    }
    assert more_is_worse(dice) == (2, 6)
    assert more_is_worse(dice, tolerance=0.15) == (1, 6)
    assert more_is_worse({}) == (0, 0)
