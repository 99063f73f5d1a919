import pytest

from magms_nnunet.datasets.splits import random_split, split_sizes
from magms_nnunet.errors import InputError

MSD = (388, 72, 24)


@pytest.mark.parametrize(
    ("patients", "proportions", "sizes"),
    [
        (484, MSD, (388, 72, 24)),  # the paper's
        (10, (6, 1, 3), (6, 1, 3)),
        (100, MSD, (80, 15, 5)),  # 14.9 and 4.96
        (3, MSD, (1, 1, 1)),
        (10, (80, 20, 0), (8, 2, 0)),
        (2, (80, 20, 0), (1, 1, 0)),
    ],
)
def test_sizes(patients, proportions, sizes):
    assert split_sizes(patients, proportions) == sizes


@pytest.mark.parametrize(("patients", "proportions"), [(2, MSD), (1, (80, 20, 0)), (0, (80, 20, 0))])
def test_too_few_patients(patients, proportions):
    with pytest.raises(InputError, match=f"^{patients} patients cannot be split into [23] parts"):
        split_sizes(patients, proportions)


def test_every_case_is_in_one_part():
    cases = {f"c{i}": f"c{i}" for i in range(20)}
    split = random_split(cases, MSD, seed=0)
    assert sorted(split.train + split.val + split.test) == sorted(cases)
    assert [len(part) for part in (split.train, split.val, split.test)] == [16, 3, 1]


def test_patients_stay_together():
    cases = {f"p{i % 10}-{i // 10}": f"p{i % 10}" for i in range(30)}
    for seed in range(5):
        split = random_split(cases, (80, 20, 0), seed)
        assert len(split.val) == 6
        assert not {cases[case] for case in split.train} & {cases[case] for case in split.val}


def test_the_seed_decides_and_the_order_of_the_cases_does_not():
    cases = {f"c{i}": f"c{i}" for i in range(30)}
    backwards = dict(reversed(cases.items()))
    assert set(random_split(cases, MSD, 3).test) == set(random_split(backwards, MSD, 3).test)
    assert random_split(cases, MSD, 3) != random_split(cases, MSD, 4)


def test_a_seed_gives_the_same_split_for_ever():
    """numpy.random.RandomState(0).permutation(4) is 2, 3, 1, 0."""
    split = random_split({name: name for name in "abcd"}, (2, 1, 1), seed=0)
    assert (split.train, split.val, split.test) == (["c", "d"], ["b"], ["a"])
