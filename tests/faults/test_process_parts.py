"""Parts that do not exist, and parts of different runs."""

import shutil

import numpy as np
import pytest

from magms_nnunet.cli.evaluate import main as magms_evaluate
from magms_nnunet.inference.earlier_results import check_parts
from magms_nnunet.storage.output_lock import locked_output
from tests.faults.tiny import SHAPE, SIDE_FILES, T1C, give
from tests.integration.workspace import ENDING, QUIET, files_in, write_image


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("-num_parts 2 -part_id 2", "-part_id must be from 0 to num_parts - 1 = 1, got 2"),
        ("-num_parts 2 -part_id -1", "-part_id must be from 0 to num_parts - 1 = 1, got -1"),
        ("-part_id 1", "-part_id must be from 0 to num_parts - 1 = 0, got 1"),
        ("-num_parts 0", "-num_parts must be 1 or more, got 0"),
    ],
)
def test_part_that_does_not_exist(flags, says, model, magms_predict, tmp_path, capfd):
    images = give(tmp_path / "images", {"a": [T1C]})
    code, lines = magms_predict(images, tmp_path / "out", *flags.split())
    assert code == 2
    assert lines[-1] == f"magms_predict: error: {says}"
    with pytest.raises(SystemExit, match="2"):
        magms_evaluate(["-m", str(model), "-o", str(tmp_path / "out"), *QUIET, *flags.split()])
    assert capfd.readouterr().err.splitlines()[-1] == f"magms_evaluate: error: {says}"
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(27)
@pytest.mark.parametrize("second", ["model", "modalities", "settings"])
def test_parts_of_different_predictions_do_not_meet_in_one_folder(second, model, magms_predict, tmp_path):
    images, out = give(tmp_path / "images", dict.fromkeys("abc", (0, T1C))), tmp_path / "out"
    assert magms_predict(images, out, "--modalities", "T1c", "-num_parts", 2) == (0, [])
    before = files_in(out)
    own_log = {"magms_predict_0_of_2.log"}  # a part adds to no other part's
    assert before == SIDE_FILES - {"magms_predict.log"} | own_log | {
        f"{case}{end}" for case in "ac" for end in (ENDING, ".json")
    }
    flags = {"modalities": ("--modalities", "F"), "settings": ("--modalities", "T1c", "-step_size", 1)}
    if second == "model":
        other = shutil.copytree(model, tmp_path / "other")
        with open(other / "fold_0/checkpoint_final.pth", "ab") as file:
            file.write(b"\0")  # another SHA-256
        flags["model"] = ("--modalities", "T1c", "-m", other)
    code, (line,) = magms_predict(images, out, "-num_parts", 2, "-part_id", 1, *flags[second])
    assert code == 2
    assert f"a: {out / f'a{ENDING}'} was predicted by another model, from other modalities or with other" in line
    assert files_in(out) == before
    assert magms_predict(images, out, "-num_parts", 2, "-part_id", 1, "--modalities", "T1c") == (0, [])
    assert {f"{case}{ENDING}" for case in "abc"} <= files_in(out)


@pytest.mark.fault(27)
def test_parts_of_different_predictions_that_run_at_once(magms_predict, tmp_path):
    """Neither has a result yet to compare."""
    images, out = give(tmp_path / "images", dict.fromkeys("ab", (0, T1C))), tmp_path / "out"
    out.mkdir()
    with locked_output(out, 1, 2) as other:
        check_parts({"modalities": ["FLAIR"]}, out, other)
        code, (line,) = magms_predict(images, out, "--modalities", "T1c", "-num_parts", 2)
        assert code == 2
        assert f"another part that is writing to {out} uses another model, other modalities, settings or checks" in line
    assert files_in(out) == set()


@pytest.mark.fault(27)
def test_killed_part_of_a_different_prediction_is_no_obstacle(magms_predict, tmp_path):
    """What it left says that it uses other modalities; nobody holds its lock."""
    images, out = give(tmp_path / "images", dict.fromkeys("ab", (0, T1C))), tmp_path / "out"
    out.mkdir()
    left = out / ".magms_1_of_2"
    with locked_output(out, 1, 2) as other:
        check_parts({"modalities": ["FLAIR"]}, out, other)
        shutil.copytree(other, tmp_path / "left")
    shutil.copytree(tmp_path / "left", left)
    with locked_output(out, 0, 2) as mine:
        shutil.copytree(tmp_path / "left", left)  # another user's, which cannot be removed
        check_parts({"modalities": ["T1c"]}, out, mine)
    assert magms_predict(images, out, "--modalities", "T1c", "-num_parts", 2) == (0, [])
    assert not left.exists()


@pytest.mark.fault(27)
def test_parts_without_modalities_take_what_each_case_has(magms_predict, tmp_path):
    images, out = give(tmp_path / "images", {"a": (0, T1C), "b": (T1C,)}), tmp_path / "out"
    for part in range(2):
        assert magms_predict(images, out, "-num_parts", 2, "-part_id", part) == (0, [])
    assert {f"a{ENDING}", f"b{ENDING}"} <= files_in(out)


@pytest.mark.fault(27)
def test_parts_of_different_evaluations_are_not_merged(model, tmp_path, capfd):
    images = give(tmp_path / "images", dict.fromkeys("ab", range(4)))
    for case in "ab":
        write_image(tmp_path / "labels" / f"{case}{ENDING}", np.ones(SHAPE, np.uint8))
    data = ("-i", images, "-l", tmp_path / "labels", "-m", model, "--subsets", "T1c", *QUIET)

    def evaluate(*flags) -> int:
        return magms_evaluate([*map(str, flags)])

    for part, flags in (("0", ()), ("1", ("-step_size", 1))):
        assert evaluate("-o", tmp_path / part, *data, "-num_parts", 2, "-part_id", part, *flags) == 0
    capfd.readouterr()
    assert evaluate("-o", tmp_path / "merged", "--merge", tmp_path / "0", tmp_path / "1") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert f"{tmp_path / '1'} and {tmp_path / '0'} are of evaluations with another settings" in line
    assert files_in(tmp_path / "merged") == set()
