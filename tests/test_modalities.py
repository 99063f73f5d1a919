import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.modalities import Modalities

BRATS = Modalities(("FLAIR", "T1", "T1c", "T2"))


@pytest.mark.parametrize(
    ("tokens", "subset"),
    [
        (["T1c", "F"], (0, 2)),
        (["flair"], (0,)),
        (["t1ce", "t1n"], (1, 2)),
        (["T1Gd"], (2,)),
        (["t2f", "t2w"], (0, 3)),
        (["3", "0"], (0, 3)),
        (["T2", "T1c", "T1", "FLAIR"], (0, 1, 2, 3)),
    ],
)
def test_names_aliases_and_indices(tokens, subset):
    assert BRATS.parse(tokens) == subset


def test_aliases_follow_the_names_of_the_dataset():
    assert Modalities(("t1n", "t1c", "t2w", "t2f")).parse(["T1", "FLAIR"]) == (0, 3)
    assert Modalities(("ADC", "T2W", "HBV")).parse(["t2", "hbv"]) == (1, 2)


def test_an_exact_name_goes_before_alias_and_index():
    assert Modalities(("T1w", "T1")).parse(["T1"]) == (1,)
    assert Modalities(("1", "0")).parse(["0"]) == (1,)
    assert Modalities(("t1", "T1")).parse(["T1"]) == (1,)


@pytest.mark.parametrize(
    ("modalities", "tokens", "message"),
    [
        (BRATS, [], "empty.*FLAIR, T1, T1c, T2"),
        (BRATS, ["PET"], "unknown modality 'PET'.*FLAIR, T1, T1c, T2"),
        (BRATS, ["FLAIRE"], "did you mean FLAIR?"),
        (BRATS, ["4"], "unknown modality '4'"),
        (BRATS, [""], "unknown modality ''"),
        (BRATS, ["T1c", "T1CE"], "T1c twice.*'T1c' and 'T1CE'"),
        (BRATS, ["T2", "3"], "T2 twice"),
        (Modalities(("T1w", "T1n")), ["T1"], "ambiguous.*T1w .channel 0., T1n .channel 1."),
        (Modalities(("Adc", "ADC")), ["adc"], "ambiguous"),
    ],
)
def test_what_cannot_be_meant_is_an_error_that_helps(modalities, tokens, message):
    with pytest.raises(InputError, match=message):
        modalities.parse(tokens)


def test_all_subsets_come_in_the_order_of_the_paper():
    dots = [BRATS.dots(subset) for subset in BRATS.subsets()]
    assert dots == [
        "● ○ ○ ○",
        "○ ● ○ ○",
        "○ ○ ● ○",
        "○ ○ ○ ●",
        "● ● ○ ○",
        "● ○ ● ○",
        "● ○ ○ ●",
        "○ ● ● ○",
        "○ ● ○ ●",
        "○ ○ ● ●",
        "● ● ● ○",
        "● ● ○ ●",
        "● ○ ● ●",
        "○ ● ● ●",
        "● ● ● ●",
    ]


@pytest.mark.parametrize("M", [1, 2, 3, 8])
def test_there_are_two_to_the_m_minus_one_subsets(M):
    modalities = Modalities(tuple(f"m{i}" for i in range(M)))
    subsets = modalities.subsets()
    assert len(subsets) == len(set(subsets)) == 2**M - 1
    assert subsets[-1] == modalities.complete


def test_every_subset_is_parsed_from_what_it_is_formatted_to():
    for subset in BRATS.subsets():
        assert BRATS.parse(BRATS.format(subset).split("+")) == subset


def test_from_dataset_json_in_channel_order():
    channels = {"10": "k", **{str(i): name for i, name in enumerate("abcdefghij")}}
    assert Modalities.from_dataset_json({"channel_names": channels}).names == tuple("abcdefghijk")
    assert Modalities.from_dataset_json({"modality": {"0": "CT"}}).names == ("CT",)


def named(*names):
    return Modalities.from_dataset_json({"channel_names": {str(i): name for i, name in enumerate(names)}})


def test_names_that_repeat_get_the_number_of_their_channel():
    modalities = named("CT", "CT", "MR", "PET")
    assert modalities.names == ("CT (0)", "CT (1)", "MR", "PET")
    assert len({modalities.format(subset) for subset in modalities.subsets()}) == 15
    assert modalities.parse(["ct (1)", "MR"]) == modalities.parse(["1", "2"]) == (1, 2)
    with pytest.raises(InputError, match=r"'CT' is ambiguous: it could be CT \(0\) .*, CT \(1\) .*channel's number"):
        modalities.parse(["CT"])
    with pytest.raises(InputError, match="'T1w' is ambiguous"):
        named("T1", "T1").parse(["T1w"])


def test_names_do_not_hold_what_joins_them():
    modalities = named("T1", "C", "T1+C", "T1+")
    assert modalities.names == ("T1", "C", "T1plusC", "T1plus")
    assert modalities.parse(["T1+C"]) == modalities.parse(["t1plusc"]) == (2,)
    assert modalities.format((0, 1)) == "T1+C"


def test_names_that_numbers_do_not_tell_apart_are_an_error():
    with pytest.raises(InputError, match="cannot be told apart"):
        named("CT", "CT", "CT (0)")


@pytest.mark.parametrize("content", [{}, {"channel_names": []}, {"channel_names": {"1": "T1"}}])
def test_dataset_json_without_numbered_channels_is_an_error(content):
    with pytest.raises(InputError, match="channel_names"):
        Modalities.from_dataset_json(content)


def test_names_of_a_flag_may_be_joined_by_commas_unless_a_name_holds_one():
    assert BRATS.split(["T1c,F"]) == ["T1c", "F"]
    assert BRATS.split(["T1c,", "F", "T1,2"]) == ["T1c", "F", "T1", "2"]
    assert Modalities(("T1,post", "T1")).split(["t1,POST", "T1"]) == ["t1,POST", "T1"]
