import pandas as pd
import pytest

from magms_nnunet.report.significance import against_best


def means(**subsets):
    """Dice of each subset, case by case; None: the case lacks it."""
    rows = [
        {"case": f"case{number}", "subset": subset, "dice": value}
        for subset, values in subsets.items()
        for number, value in enumerate(values)
        if value is not None
    ]
    return pd.DataFrame(rows)


def test_a_subset_that_is_worse_in_every_case_is_told_apart_and_an_equal_one_is_not():
    best = [0.80 + 0.01 * number for number in range(10)]
    worse = [value - 0.1 - 0.001 * number for number, value in enumerate(best)]
    as_good = [value + (0.02 if number % 2 else -0.021) for number, value in enumerate(best)]
    found = against_best(means(B=worse, A=best, C=as_good))
    assert (found.best, found.cases) == ("A", 10)
    assert list(found.others) == ["B", "C"]
    assert found.not_told_apart == ["C"]
    other = found.others["B"]
    assert other.difference == pytest.approx(-0.1045)
    assert other.low < other.difference < other.high < 0
    assert other.p == pytest.approx(2 * 2 / 2**10)  # exact, times two tests


def test_only_cases_that_have_all_subsets_count():
    found = against_best(means(A=[0.1, 0.8, 1.0], B=[0.5, 0.5, None]))  # A has the higher mean of all its cases
    assert (found.best, found.cases) == ("B", 2)
    assert against_best(means(A=[0.5, None], B=[None, 0.5])) is None
    assert against_best(means(A=[0.5, 0.6])) is None
