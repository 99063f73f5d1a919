from tests.benchmarks.conftest import rows_of


def test_sweep_compares_the_ways_to_all_subsets(run):
    rows = rows_of(run("sweep", "--modalities", "2", "--patch", "40", "--width", "16"), "all 3 subsets")
    one, filled, separate, sweep, fast, any_subset = rows.values()
    assert one["system"] == "nnU-Net, one pass"
    assert filled["operations"] == 3 * one["operations"]
    # 2 of 4 encoder passes and no projection twice; as many decoder passes
    # so large a patch that convolutions are merged, whose half of the skips a fast sweep shares
    assert fast["operations"] < sweep["operations"] < separate["operations"]
    # a pass of nnU-Net's network for each subset, in which convolutions are merged as well
    assert 0.8 * filled["operations"] < any_subset["operations"] <= filled["operations"]
    assert sweep["target"] is None  # it is for four modalities
