"""Which series stands for which modality; what is ambiguous is not guessed."""

import numpy as np
import pytest

from tests.dicom.written_study import PHYSICS, SECRETS, T1, T1C, write_series, write_study

from magms_nnunet.dicom.choice import check_frames, choose_series, parse_series, table  # isort: skip
from magms_nnunet.dicom.study import find_series  # isort: skip
from magms_nnunet.errors import InputError  # isort: skip
from magms_nnunet.modalities import Modalities  # isort: skip

M = Modalities(("flair", "t1n", "T1ce", "T2w"))
VOXELS = np.random.default_rng(0).integers(0, 4000, (4, 5, 6))


def chosen(study, tokens=(), requested=None) -> dict[str, str]:
    """Modality -> number of its series."""
    series = find_series(study)
    found = choose_series(series, parse_series(tokens, series, M), M, requested)
    return {M.names[channel]: one.number for channel, one in found.items()}


def refusal(study, tokens=(), requested=None) -> str:
    with pytest.raises(InputError) as caught:
        chosen(study, tokens, requested)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_modality_has_its_series_whatever_the_model_calls_it(tmp_path):
    write_study(tmp_path, dict.fromkeys(("T2", "T1c", "FLAIR", "T1"), VOXELS))
    assert chosen(tmp_path) == {"flair": "3", "t1n": "4", "T1ce": "2", "T2w": "1"}
    assert chosen(tmp_path, requested=(0, 2)) == {"flair": "3", "T1ce": "2"}


def test_two_candidates_are_not_guessed_between(tmp_path):
    write_study(tmp_path, dict.fromkeys(("FLAIR", "T1"), VOXELS))
    write_series(tmp_path, VOXELS, 9, **T1, SeriesDescription="sag T1")
    second = find_series(tmp_path)[1]
    assert refusal(tmp_path).startswith(f"t1n could be series 2 or series 9: say which with --series t1n={second.uid}")
    assert chosen(tmp_path, [f"T1={second.uid}"]) == {"flair": "1", "t1n": "2"}
    assert chosen(tmp_path, ["T1=9"]) == {"flair": "1", "t1n": "9"}
    assert chosen(tmp_path, requested=(0,)) == {"flair": "1"}


def test_a_series_that_could_be_two_modalities_is_not_guessed(tmp_path):
    write_series(tmp_path, VOXELS, 1, **T1C, SeriesDescription="T1 pre gd")
    assert refusal(tmp_path).startswith("t1n could be series 1")
    assert refusal(tmp_path, ["T1=1"], requested=(1, 2)).startswith("no series is T1ce")
    assert chosen(tmp_path, ["T1ce=1"]) == {"T1ce": "1"}


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["T1"], "--series T1: give NAME=UID, or NAME=NUMBER"),
        (["T1=7"], "--series T1=7: there is no such series"),
        (["PD=1"], "unknown modality 'PD'"),
        (["T1=1", "t1w=1"], "--series names t1n twice"),
        (["T1=1", "T2=1"], "this series is given as another modality, too"),
        (["T1=2"], "--series T1=2: this series lacks 1 slice"),
    ],
)
def test_series_that_cannot_be_named(tokens, message, tmp_path):
    write_series(tmp_path, VOXELS, 1, **T1)
    write_series(tmp_path, VOXELS, 2, **T1, leave_out=(1,))
    assert message in refusal(tmp_path, tokens)


def test_a_study_without_any_of_the_modalities(tmp_path):
    write_series(tmp_path, VOXELS, 1, SeriesDescription="DWI")
    assert refusal(tmp_path).startswith("no series is flair, t1n, T1ce, T2w")


def test_frames_of_reference_that_differ_are_said(tmp_path):
    write_study(tmp_path, {"FLAIR": VOXELS})
    write_series(tmp_path, VOXELS, 5, **PHYSICS["T2"], FrameOfReferenceUID="1.2.3")
    series = find_series(tmp_path)
    found = choose_series(series, {}, M, None)
    with pytest.raises(InputError, match=r"flair and T2w have different frames of reference.*--register rigid"):
        check_frames(found, M)


def test_the_table_says_what_each_series_is_and_names_nobody(tmp_path):
    write_study(tmp_path, dict.fromkeys(("FLAIR", "T1c"), VOXELS))
    write_series(tmp_path, VOXELS, 7, leave_out=(2,), SeriesDescription="broken\x1b[31m")
    text = table(find_series(tmp_path))
    _, flair, t1c, broken = text.splitlines()
    assert flair.split()[:4] == ["1", "4", "FLAIR", "high"]
    assert "TI 2500 ms" in flair
    assert t1c.split()[2:4] == ["T1c", "high"]
    assert "lacks 1 slice" in broken
    assert "\x1b" not in text
    assert not any(secret in text for secret in SECRETS)
