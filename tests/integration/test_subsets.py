"""A prediction depends on the modalities it is made from and on nothing else; each case uses what it has."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from tests.faults.tiny import SIDE_FILES
from tests.integration.workspace import ENDING, SHAPE, files_in, give, read_probabilities, write_image

FLAIR, T1, T1C, T2 = range(4)
CASES = ("case5", "case6", "case7")


def test_files_that_are_not_requested_cannot_matter(workspace, predict, tmp_path):
    """Whatever is wrong with them: the output is the same to the byte as without them."""
    clean = give(workspace.test, tmp_path / "clean", dict.fromkeys(CASES, (FLAIR, T1C)))
    poisoned = give(workspace.test, tmp_path / "poisoned", dict.fromkeys(CASES, (FLAIR, T1C)))
    write_image(poisoned / f"case5_{T1:04d}{ENDING}", np.full(SHAPE, np.nan, np.float32))
    write_image(poisoned / f"case5_{T2:04d}{ENDING}", np.ones((3, 4, 5), np.float32))
    (poisoned / f"case6_{T1:04d}{ENDING}").write_bytes(b"garbage")
    rgb = sitk.Compose(*[sitk.Image(SHAPE[::-1], sitk.sitkUInt8)] * 3)
    sitk.WriteImage(rgb, str(poisoned / f"case6_{T2:04d}{ENDING}"))
    (poisoned / f"case7_{T1:04d}{ENDING}").touch()
    write_image(poisoned / f"case7_0004{ENDING}", np.ones(SHAPE, np.float32))

    flags = ("--modalities", "T1c", "F", "--save_probabilities")
    assert predict(clean, tmp_path / "out_clean", *flags) == 0
    assert predict(poisoned, tmp_path / "out_poisoned", *flags) == 0
    for name in [f"{case}{suffix}" for case in CASES for suffix in (ENDING, ".npz", ".json")]:
        assert (tmp_path / "out_clean" / name).read_bytes() == (tmp_path / "out_poisoned" / name).read_bytes(), name

    assert predict(poisoned, tmp_path / "out_all") == 3  # the poison is one where it is taken
    assert files_in(tmp_path / "out_all") == set()


def test_modalities_that_are_requested_do_matter(workspace, predict, tmp_path):
    outputs = {"T1c": ["T1c"], "T1c F": ["T1c", "F"], "all": ["FLAIR", "t1", "T1ce", "3"]}
    for name, tokens in outputs.items():
        assert predict(workspace.test, tmp_path / name, "--save_probabilities", "--modalities", *tokens) == 0
    single, pair, everything = (read_probabilities(tmp_path / name / "case5.npz") for name in outputs)
    assert np.abs(single - pair).max() > 1e-3
    assert np.abs(pair - everything).max() > 1e-3


def test_order_and_spelling_of_modalities_do_not_matter(workspace, predict, tmp_path):
    spellings = (["T1c", "F"], ["flair", "T1Gd"], ["2", "0"])
    for number, tokens in enumerate(spellings):
        assert predict(workspace.test, tmp_path / str(number), "--save_probabilities", "--modalities", *tokens) == 0
    for name in [f"{case}{suffix}" for case in CASES for suffix in (ENDING, ".npz", ".json")]:
        assert len({(tmp_path / str(number) / name).read_bytes() for number in range(3)}) == 1


def test_case_that_lacks_a_requested_file_fails_by_name_and_the_others_go_on(workspace, predict, tmp_path, capfd):
    images = give(
        workspace.raw / "imagesTr",
        tmp_path / "images",
        {f"case{number}": (FLAIR,) if number == 3 else (FLAIR, T1C) for number in range(5)},
    )
    assert predict(images, tmp_path / "out", "--modalities", "T1c", "F") == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"magms_predict: case3: T1c is missing (no case3_0002{ENDING})")
    assert "FLAIR" in line  # what it could be predicted from
    done = {f"case{number}{suffix}" for number in (0, 1, 2, 4) for suffix in (ENDING, ".json")}
    assert files_in(tmp_path / "out") == done | SIDE_FILES


def test_without_the_flag_each_case_uses_what_it_has_and_its_json_says_so(workspace, predict, tmp_path):
    given = {"case5": (T1C,), "case6": (FLAIR, T2), "case7": (FLAIR, T1, T1C, T2)}
    images = give(workspace.test, tmp_path / "images", given)
    assert predict(images, tmp_path / "out") == 0
    reports = {case: json.loads((tmp_path / "out" / f"{case}.json").read_text()) for case in CASES}
    assert {case: report["modalities_used"] for case, report in reports.items()} == {
        "case5": ["T1c"],
        "case6": ["FLAIR", "T2"],
        "case7": ["FLAIR", "T1", "T1c", "T2"],
    }
    assert {case: report["modalities_absent"] for case, report in reports.items()} == {
        "case5": ["FLAIR", "T1", "T2"],
        "case6": ["T1", "T1c"],
        "case7": [],
    }
    assert reports["case6"]["files"] == {"FLAIR": f"case6_0000{ENDING}", "T2": f"case6_0003{ENDING}"}


@pytest.mark.parametrize(("case", "tokens"), [("case5", ["T1c"]), ("case6", ["T2", "F"])])
def test_what_a_case_has_or_what_is_requested_gives_the_same(case, tokens, workspace, predict, tmp_path):
    has = give(workspace.test, tmp_path / "has", {"case5": (T1C,), "case6": (FLAIR, T2)})
    assert predict(has, tmp_path / "out_has") == 0
    assert predict(workspace.test, tmp_path / "out_requested", "--modalities", *tokens) == 0
    for name in (f"{case}{ENDING}", f"{case}.json"):
        assert (tmp_path / "out_has" / name).read_bytes() == (tmp_path / "out_requested" / name).read_bytes()


def test_misnamed_files_are_reported_and_the_cases_are_predicted(workspace, predict, tmp_path, capfd):
    images = give(workspace.test, tmp_path / "images", {"case5": (FLAIR, T1C)})
    (images / f"case5_{T1C:03d}{ENDING}").touch()
    assert predict(images, tmp_path / "out") == 3
    assert f"case5_002{ENDING}: belongs to no case: name it CASE_XXXX{ENDING}" in capfd.readouterr().err
    assert (tmp_path / "out" / f"case5{ENDING}").is_file()
