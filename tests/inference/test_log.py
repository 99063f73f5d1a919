import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.inference.log import PredictionLog

REPORT = {
    "case": "p1",
    "modalities_used": ["FLAIR", "T1c"],
    "expected_dice": {"mean": 0.413},
    "weak": True,
    "warnings": ["odd", "p1_0000.nii.gz looks like T1"],
}


@pytest.fixture
def lines(tmp_path):
    """The log's lines without their times."""
    return lambda: [line.split(" ", 1)[1] for line in (tmp_path / "magms_predict.log").read_text().splitlines()]


def test_a_run_is_a_beginning_a_line_per_case_and_an_end(tmp_path, lines):
    for _ in range(2):  # lines of the first stay
        log = PredictionLog(tmp_path, 0, 1, [])
        with log.run("2 cases", failed := {}):
            log.begin("1 to predict")
            log.done(REPORT)
            failed["p\n2"] = "is damaged"
    first, *rest = lines()[:5]
    assert first.startswith("start: magms_nnunet ")
    assert first.endswith("; 2 cases")
    assert rest == [
        "1 to predict",
        "p1: done from FLAIR+T1c, expected Dice 0.41, WEAK; warning: odd; warning: p1_0000.nii.gz looks like T1",
        "p\\n2: failed: is damaged",
        "end: 1 done, 1 of them weak, 1 failed, 0 s",
    ]
    assert len(lines()) == 10


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("no x.nii.gz in {0}/My study/in: copy it", "no x.nii.gz in in: copy it"),
        ("/mnt/other/place/x.nii.gz (FLAIR) cannot be read", "x.nii.gz (FLAIR) cannot be read"),
        (r"C:\data\p\x.nii.gz is empty", "x.nii.gz is empty"),
        ("0.1/0.2 mm and/or -1/2, see ../x/y", "0.1/0.2 mm and/or -1/2, see ../x/y"),
    ],
)
def test_no_line_names_a_folder_of_the_machine(text, written, tmp_path, lines):
    log = PredictionLog(tmp_path, 0, 1, [tmp_path / "My study/in"])
    log.begin(text.format(tmp_path))
    assert lines() == [written]


def test_a_run_that_cannot_start_leaves_no_line_and_one_that_is_stopped_says_so(tmp_path, lines):
    log = PredictionLog(tmp_path, 0, 1, [])
    with pytest.raises(InputError), log.run("1 case", {}):
        raise InputError("no such model")
    assert not (tmp_path / "magms_predict.log").exists()
    log.begin("1 to predict")
    with pytest.raises(KeyboardInterrupt), log.run("1 case", {}):
        raise KeyboardInterrupt
    assert lines()[-1] == "stopped: KeyboardInterrupt"


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "magms_predict.log").symlink_to(tmp_path / "theirs")
    with pytest.raises(InputError, match="is a symbolic link"):
        PredictionLog(tmp_path, 0, 1, [])
    assert PredictionLog(tmp_path, 1, 2, [])._file.name == "magms_predict_1_of_2.log"
