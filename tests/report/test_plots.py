import re
from xml.etree import ElementTree

import numpy as np
import pytest

from magms_nnunet.report.plots import Line, bland_altman, interval_plot, limits_of_agreement, ticks


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("text")]


def test_a_row_shows_cases_mean_and_interval():
    lines = [Line("a<b>&", (0.2, 0.4), 0.3, 0.2, 0.4), Line("c" * 60, (0.5,), 0.5, 0.5, 0.5)]
    svg = interval_plot("Dice", "axis", lines, bounds=(0.0, 1.0))
    root = ElementTree.fromstring(svg)
    assert len(list(root.iter("circle"))) == 3
    assert len(list(root.iter("polygon"))) == 2
    assert {"Dice", "axis", "a<b>&", "0.300 [0.200, 0.400]", "c" * 33 + "…"} <= set(texts(svg))
    left, right = (float(circle.get("cx")) for circle in list(root.iter("circle"))[:2])
    (x,) = re.findall(r"^([\d.]+),", next(root.iter("polygon")).get("points"))
    assert float(x) == pytest.approx((left + right) / 2, abs=0.11)


def test_limits_of_agreement_by_hand():
    bias, (low, high) = limits_of_agreement([1.0, 3.0])  # mean 2, standard deviation sqrt(2)
    assert (bias, low, high) == pytest.approx((2, 2 - 1.96 * 2**0.5, 2 + 1.96 * 2**0.5))
    assert limits_of_agreement([5.0]) == (5, (5, 5))


def test_a_bland_altman_plot_names_its_lines():
    svg = bland_altman("Volume of core", [1.0, 2.0, 3.0], [2.0, 2.0, 5.0], "ml")
    assert len(list(ElementTree.fromstring(svg).iter("circle"))) == 3
    assert {"Volume of core", "mean of both, ml", "mean +1", "+1.96 SD +2.96", "−1.96 SD -0.96"} <= set(texts(svg))


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [1e6, 2e6]])
def test_figures_of_equal_values_and_of_large_ones(values):
    assert "nan" not in bland_altman("t", values, values, "ml")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-0.07, 0.12, [-0.05, 0, 0.05, 0.1]), (0, 3500, [0, 1000, 2000, 3000])],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == expected


def test_ticks_lie_inside_for_any_range():
    for low, high in np.random.default_rng(0).normal(0, 1000, (200, 2)):
        found = ticks(min(low, high), max(low, high))
        assert 2 <= len(found) <= 7
        assert min(low, high) - 1e-6 <= found[0] <= found[-1] <= max(low, high) + 1e-6
