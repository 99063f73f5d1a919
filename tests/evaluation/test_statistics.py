from itertools import product

import numpy as np
import pytest

from magms_nnunet.evaluation.statistics import SMALLEST_N, holm, wilcoxon


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
