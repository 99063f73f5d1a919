import pytest

from magms_nnunet.modalities import Modalities
from magms_nnunet.trust.advice import is_weak, next_scan

M = Modalities(("FLAIR", "T1", "T1c"))
DICE = {"FLAIR": 0.6, "T1": 0.4, "T1c": 0.7, "FLAIR+T1": 0.62, "FLAIR+T1c": 0.78, "T1+T1c": 0.7, "FLAIR+T1+T1c": 0.8}


def test_a_subset_is_weak_below_the_threshold_or_far_below_all_modalities():
    assert not is_weak(DICE | {"FLAIR+T1+T1c": 0.79}, M, (0,))  # 0.6 is more than three quarters of it
    assert is_weak(DICE, M, (0,), weak_below=0.61)
    assert is_weak(DICE, M, (1,))
    assert is_weak(DICE | {"FLAIR+T1+T1c": 0.81}, M, (0,))
    assert not is_weak({"FLAIR": 0.5}, M, (0,))  # nobody evaluated all modalities


@pytest.mark.parametrize(
    ("subset", "modality", "gain"),
    [((0,), "T1c", 0.18), ((1,), "T1c", 0.3), ((2,), "FLAIR", 0.08), ((0, 2), "T1", 0.02)],
)
def test_the_next_scan_is_the_one_that_adds_most(subset, modality, gain):
    scan = next_scan(DICE, M, subset)
    assert scan["modality"] == modality
    assert scan["gain"] == pytest.approx(gain)
    assert scan["expected_dice"] == pytest.approx(DICE[M.format(subset)] + gain)


def test_nothing_is_advised_where_nothing_helps_or_is_known():
    assert next_scan(DICE, M, M.complete) is None
    assert next_scan(DICE | {"FLAIR+T1+T1c": 0.69}, M, (1, 2)) is None
    assert next_scan({"T1c": 0.7}, M, (2,)) is None
