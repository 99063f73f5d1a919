import numpy as np
import pytest

from magms_nnunet.trust.conformal import lower_bound


def test_the_bound_is_the_estimate_less_a_quantile_of_the_residuals():
    residuals = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]  # ceil(10 * 0.9) = 9: the largest
    assert lower_bound(0.9, residuals, 0.9) == pytest.approx(0.1)
    assert lower_bound(0.9, residuals[::-1], 0.5) == pytest.approx(0.5)  # ceil(10 * 0.5) = 5: 0.4


def test_too_few_cases_allow_no_statement():
    assert lower_bound(0.9, [0.1] * 8, 0.9) is None
    assert lower_bound(0.9, [0.1] * 9, 0.9) == pytest.approx(0.8)
    assert lower_bound(0.9, []) is None


def test_the_bound_is_a_dice():
    assert lower_bound(0.2, [0.5] * 20) == 0
    assert lower_bound(0.9, [-0.5] * 20) == 1


@pytest.mark.parametrize("cases", [9, 30, 67])
def test_the_bound_holds_as_often_as_it_says_whatever_the_estimate_is(cases):
    """Over 4000 draws of calibration and new case the share is exact up to the binomial error of three sigma."""
    rng = np.random.default_rng(cases)
    dice = rng.beta(5, 2, (4000, cases + 1))
    estimate = np.clip(dice**3 + rng.normal(0.2, 0.1, dice.shape), 0, 1)  # overconfident, and not linear
    held = 0
    for truth, guess in zip(dice, estimate, strict=True):
        held += truth[-1] >= lower_bound(float(guess[-1]), (guess[:-1] - truth[:-1]).tolist(), 0.9)
    exact = np.ceil((cases + 1) * 0.9) / (cases + 1)
    assert abs(held / 4000 - exact) < 3 * np.sqrt(exact * (1 - exact) / 4000)
