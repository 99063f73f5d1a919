"""Patients of a BIDS folder."""

import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.images.bids import find_bids
from magms_nnunet.modalities import Modalities

M = Modalities(("FLAIR", "T1", "T1c", "T2"))


def bids(root, *files, tokens=()):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return find_bids(root, M, ".nii.gz", tokens)


def names(cases):
    return {case.name: {M.names[c]: path.name for c, path in case.files.items()} for case in cases}


def test_subjects_and_sessions_of_bids_are_cases(tmp_path):
    cases = bids(
        tmp_path,
        "sub-01/anat/sub-01_FLAIR.nii.gz",
        "sub-01/anat/sub-01_FLAIR.json",
        "sub-01/anat/sub-01_ce-gadolinium_T1w.nii.gz",
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_run-1_T2w.nii",
        "sub-02/ses-b/func/sub-02_ses-b_bold.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz",
    )
    assert names(cases) == {
        "sub-01": {
            "FLAIR": "sub-01_FLAIR.nii.gz",
            "T1": "sub-01_T1w.nii.gz",
            "T1c": "sub-01_ce-gadolinium_T1w.nii.gz",
        },
        "sub-02_ses-a": {"T2": "sub-02_ses-a_run-1_T2w.nii"},
    }


def test_bids_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match=r"sub-01 has two images of T1 \(sub-01_run-1_T1w.nii.gz and sub-01_run-2"):
        bids(tmp_path, "sub-01/anat/sub-01_run-1_T1w.nii.gz", "sub-01/anat/sub-01_run-2_T1w.nii.gz")
    with pytest.raises(InputError, match="no sub-"):
        bids(tmp_path / "empty", "readme.txt")
    with pytest.raises(InputError, match="does not exist"):
        find_bids(tmp_path / "gone", M, ".nii.gz")


def test_suffixes_can_be_named_and_the_one_with_most_entities_wins(tmp_path):
    anat = "sub-01/anat/sub-01"
    files = [f"{anat}_{end}.nii.gz" for end in ("T1w", "acq-spc_T1w", "acq-spc_ce-gd_T1w", "ce-other_T1w", "T2starw")]
    cases = bids(tmp_path, *files, tokens=("t1ce=acq-spc_ce-gd_T1w", "T2=T2starw", "T1=acq-spc_T1w"))
    ends = {"T1": "acq-spc_T1w", "T1c": "acq-spc_ce-gd_T1w", "T2": "T2starw"}
    assert names(cases) == {"sub-01": {name: f"sub-01_{end}.nii.gz" for name, end in ends.items()}}
    with pytest.raises(InputError, match=r"two images of T1c .*acq-spc_ce-gd_T1w.nii.gz and sub-01_ce-other"):
        find_bids(tmp_path, M, ".nii.gz", ("T1=acq-spc_T1w",))


def test_a_contrast_agent_is_never_taken_for_none(tmp_path):
    file = "sub-01/anat/sub-01_ce-other_T1w.nii.gz"
    with pytest.raises(InputError, match="no sub-"):
        bids(tmp_path, file, tokens=("T1c=ce-gadolinium_T1w",))
    native = Modalities(("T1", "T2"))
    with pytest.raises(InputError, match=r"has T1w, T2w of T1, T2: see --bids-suffix"):
        find_bids(tmp_path, native, ".nii.gz")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["T1c"], "--bids-suffix T1c: give NAME=SUFFIX"),
        (["T1c=ce-gd-T1w"], "give NAME=SUFFIX"),
        (["T1c=a/b"], "give NAME=SUFFIX"),
        (["PD=PDw"], "unknown modality 'PD'"),
        (["T1=T1w", "T1=T2w"], "names T1 twice"),
        (["T1=T1w", "T1w=T2w"], "names T1 twice"),
    ],
)
def test_a_suffix_that_cannot_be_used(tokens, message, tmp_path):
    with pytest.raises(InputError) as caught:
        bids(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", tokens=tokens)
    assert message in str(caught.value)
