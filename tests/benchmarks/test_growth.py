import growth

from tests.benchmarks.conftest import rows_of


def test_fit_of_a_straight_line():
    assert growth.fit({1: 3.0, 2: 5.0, 4: 9.0}) == {"slope": 2, "intercept": 1, "largest_residual": 0}


def test_residual_is_a_fraction_of_the_line():
    # least squares through (1, 1), (2, 2), (3, 4): 1.5 M - 2/3; at M = 1 the line is 5/6, which 1 misses by a fifth
    assert growth.fit({1: 1.0, 2: 2.0, 3: 4.0}) == {"slope": 1.5, "intercept": -0.667, "largest_residual": 0.2}


def test_growth_measures_each_m_and_draws(run, tmp_path):
    plot = tmp_path / "cost.svg"
    result = run("growth", "--modalities", "1", "2", "4", "--plot", str(plot))
    for what, figure in (
        (growth.memory.PEAK, "ratio"),
        (growth.STEP, "operations_ratio"),
        (growth.SWEEP, "operations_ratio"),
    ):
        ratios = [rows_of(result, f"M = {M}, {what}")[growth.harness.EXACT][figure] for M in (1, 2, 4)]
        assert ratios == sorted(ratios)  # the seconds of a busy machine need not be
    memory = result["runs"][0]["fits"][growth.memory.PEAK]
    assert memory["largest_residual"] < 0.05
    assert "<svg" in plot.read_text()


def test_two_points_are_not_fitted(run):
    assert run("growth", "--modalities", "1", "2")["runs"][0]["fits"] == {}
