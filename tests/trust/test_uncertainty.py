import numpy as np
import pytest

from magms_nnunet.trust.uncertainty import entropy_nats, mutual_information_nats

SURE, OTHER, HALF = ([1.0, 0.0], [0.0, 1.0], [0.5, 0.5])
LN2 = 0.693147


def voxel(*p):
    return np.array(p, np.float32).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize(("p", "nats"), [(SURE, 0), (HALF, LN2), ([0.25, 0.75], 0.562335)])
def test_entropy_of_classes(p, nats):
    assert entropy_nats(voxel(*p), regions=False).item() == pytest.approx(nats, abs=1e-5)


def test_entropy_of_regions_is_the_mean_of_their_own():
    assert entropy_nats(voxel(0.5, 1.0), regions=True).item() == pytest.approx(LN2 / 2, abs=1e-5)


@pytest.mark.parametrize(
    ("folds", "nats"),
    [
        ([SURE, SURE], 0),
        ([HALF, HALF], 0),  # uncertain alike is no disagreement
        ([SURE, OTHER], LN2),
        ([SURE, HALF], 0.562335 - LN2 / 2),  # the mean is (0.75, 0.25)
    ],
)
def test_folds_disagree_where_they_say_different_things(folds, nats):
    found = mutual_information_nats((voxel(*p) for p in folds), regions=False)
    assert found.item() == pytest.approx(nats, abs=1e-5)


def test_regions_disagree_one_by_one():
    found = mutual_information_nats([voxel(1.0, 0.5), voxel(0.0, 0.5)], regions=True)
    assert found.item() == pytest.approx(LN2 / 2, abs=1e-5)
