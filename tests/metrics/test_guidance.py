from itertools import permutations

import numpy as np
import pytest

from magms_nnunet.metrics.guidance import guidance
from magms_nnunet.modalities import Modalities

# MAG-MS's mean Dice in Table 2 of arXiv 2306.03730
PAPER = {
    **{"F": 0.656, "T1": 0.636, "T1c": 0.739, "T2": 0.635, "F+T1": 0.668, "F+T1c": 0.769, "F+T2": 0.664},
    **{"T1+T1c": 0.748, "T1+T2": 0.657, "T1c+T2": 0.760, "F+T1+T1c": 0.766, "F+T1+T2": 0.670, "F+T1c+T2": 0.767},
    **{"T1+T1c+T2": 0.755, "F+T1+T1c+T2": 0.762},
}


def random_dice(names, seed):
    modalities = Modalities(tuple(names))
    rng = np.random.default_rng(seed)
    return {modalities.format(subset): float(rng.random()) for subset in modalities.subsets()}


def test_two_modalities_by_hand():
    found = guidance({"A": 0.5, "B": 0.7, "A+B": 0.8}, ["A", "B"])
    # A first adds 0.5, then B 0.3; B first adds 0.7, then A 0.1
    assert found["shapley"] == pytest.approx({"A": 0.3, "B": 0.5})
    assert found["dropped"] == pytest.approx({"A": 0.1, "B": 0.3})
    assert found["alone"] == {"A": 0.5, "B": 0.7}
    assert found["gain"] == pytest.approx({"A": 0.1, "B": 0.3})
    assert found["best"] == found["complete"] == {"subset": "A+B", "dice": 0.8}
    assert found["smallest_within_tolerance"] == {"subset": "A+B", "dice": 0.8, "tolerance": 0.01}
    assert found["hurts"] == []
    assert found["shapley_baseline"] == 0


def test_three_modalities_by_hand():
    dice = {"A": 0.6, "B": 0.3, "C": 0.0, "A+B": 0.9, "A+C": 0.6, "B+C": 0.2, "A+B+C": 0.84}
    found = guidance(dice, ["A", "B", "C"], tolerance=0.06)
    # A: 0.6 / 3 + (0.6 + 0.6) / 6 + 0.64 / 3;  B: 0.3 / 3 + (0.3 + 0.2) / 6 + 0.24 / 3;  C: (-0.1 + 0) / 6 - 0.06 / 3
    assert found["shapley"] == pytest.approx({"A": 0.84 - 0.79 / 3 + 0.11 / 3, "B": 0.79 / 3, "C": -0.11 / 3})
    assert found["gain"] == pytest.approx({"A": (0.6 + 0.6 + 0.64) / 3, "B": 0.74 / 3, "C": -0.16 / 3})
    assert found["dropped"] == pytest.approx({"A": 0.64, "B": 0.24, "C": -0.06})
    assert [(pair["subset"], pair["added"]) for pair in found["hurts"]] == [("B", "C"), ("A+B", "C")]
    assert found["hurts"][1] == {"subset": "A+B", "added": "C", "dice_before": 0.9, "dice_after": 0.84}
    assert found["best"]["subset"] == found["smallest_within_tolerance"]["subset"] == "A+B"
    assert found["complete"] == {"subset": "A+B+C", "dice": 0.84}


def test_one_modality_is_all_there_is():
    found = guidance({"CT": 0.9}, ["CT"])
    assert found["shapley"] == found["dropped"] == found["alone"] == found["gain"] == {"CT": 0.9}
    assert found["best"] == found["complete"] == {"subset": "CT", "dice": 0.9}
    assert found["hurts"] == []


def test_the_paper():
    found = guidance(PAPER, ["F", "T1", "T1c", "T2"])
    assert found["best"] == {"subset": "F+T1c", "dice": 0.769}
    assert found["complete"] == {"subset": "F+T1+T1c+T2", "dice": 0.762}
    assert found["smallest_within_tolerance"] == {"subset": "F+T1c", "dice": 0.769, "tolerance": 0.01}
    pairs = {(pair["subset"], pair["added"]) for pair in found["hurts"]}
    assert ("F+T1c", "T1") in pairs
    assert ("F+T1c", "T2") in pairs
    assert ("F+T1+T1c", "T2") in pairs  # 0.766 -> 0.762
    assert ("T1c", "F") not in pairs
    assert sum(found["shapley"].values()) == pytest.approx(0.762)
    assert max(found["shapley"], key=found["shapley"].get) == max(found["dropped"], key=found["dropped"].get) == "T1c"
    assert found["dropped"] == pytest.approx({"F": 0.007, "T1": -0.005, "T1c": 0.092, "T2": -0.004})


@pytest.mark.parametrize("names", ["AB", "ABC", "ABCD"])
def test_shapley_is_the_mean_over_all_orders_and_sums_up_to_all(names):
    dice = random_dice(names, len(names))
    expected = dict.fromkeys(names, 0.0)
    orders = list(permutations(names))
    for order in orders:
        for position, name in enumerate(order):
            before, after = ("+".join(sorted(order[:end])) for end in (position, position + 1))
            expected[name] += (dice[after] - dice.get(before, 0)) / len(orders)
    found = guidance(dice, list(names))["shapley"]
    assert found == pytest.approx(expected)
    assert sum(found.values()) == pytest.approx(dice["+".join(names)])


def test_a_modality_that_adds_nothing_is_worth_nothing_and_twins_are_worth_the_same():
    dice = {"A": 0.8, "B": 0.8, "C": 0.0, "A+B": 0.9, "A+C": 0.8, "B+C": 0.8, "A+B+C": 0.9}
    found = guidance(dice, ["A", "B", "C"])
    assert found["shapley"] == pytest.approx({"A": 0.45, "B": 0.45, "C": 0})
    assert found["gain"]["C"] == found["dropped"]["C"] == 0


def test_the_order_of_channels_does_not_matter():
    dice = random_dice("ABC", 7)
    renamed = {"+".join(sorted(subset.split("+"), key="CAB".index)): value for subset, value in dice.items()}
    assert guidance(renamed, list("CAB"))["shapley"] == pytest.approx(guidance(dice, list("ABC"))["shapley"])


def test_the_tolerance_itself_is_within_it_and_the_better_of_equally_many_wins():
    dice = {"A": 0.78, "B": 0.79, "A+B": 0.8}
    assert guidance(dice, ["A", "B"], tolerance=0.02)["smallest_within_tolerance"]["subset"] == "B"
    assert guidance(dice, ["A", "B"], tolerance=0.01)["smallest_within_tolerance"]["subset"] == "B"
    assert guidance(dice, ["A", "B"], tolerance=0.0)["smallest_within_tolerance"]["subset"] == "A+B"


def test_a_missing_subset_is_named():
    with pytest.raises(ValueError, match=r"all 3 subsets, and has no A\+B"):
        guidance({"A": 0.5, "B": 0.7}, ["A", "B"])
