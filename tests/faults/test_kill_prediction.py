"""SIGKILL at random moments of a prediction and of an evaluation, which then go on."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.cli.evaluate import main as magms_evaluate
from tests.faults.commands import start, wait_for
from tests.faults.spoiled_image import like
from tests.faults.tiny import SHAPE, T1C, give
from tests.integration.workspace import ENDING, QUIET, files_in, write_image

KILLS = 25
LOCK = ".magms_0_of_1"
CASES = [f"case{number:02d}" for number in range(20)]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that is not hidden, but for the log, to which every run adds."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "magms_predict.log"]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def seconds_undisturbed(output: Path, *command) -> float:
    """From when the command begins to write until it ends."""
    with start(*command) as run:
        wait_for((output / LOCK).exists)
        begin = time.monotonic()
        run.communicate()
    assert run.returncode == 0
    return time.monotonic() - begin


def run_and_kill(seconds: float, output: Path, *command):
    """Kill the command so long after it has begun to write."""
    with start(*command) as run:
        wait_for(lambda: run.poll() is not None or (output / LOCK).exists())
        time.sleep(seconds)
        run.kill()


@pytest.mark.fault(15)
@pytest.mark.slow
def test_prediction_killed_at_random_moments_redoes_what_is_missing(model, magms_predict, tmp_path):
    images = give(tmp_path / "images", {key: [T1C] for key in CASES})
    assert magms_predict(images, tmp_path / "whole") == (0, [])
    whole, out, moments, interrupted = contents(tmp_path / "whole"), tmp_path / "out", random.Random(15), 0
    flags = ("-m", model, "-f", 0, "-device", "cpu", "--disable_tta", "--continue_prediction")
    command, undisturbed = ("magms_predict", "-i", images, *flags), tmp_path / "undisturbed"
    longest = seconds_undisturbed(undisturbed, *command, "-o", undisturbed, "-npp", 0, "-nps", 0)
    for number in range(KILLS):
        processes = ("-npp", number % 2, "-nps", number % 2)
        before = contents(out)
        run_and_kill(moments.uniform(0, longest), out, *command, "-o", out, *processes)
        after = contents(out)
        assert before.items() <= after.items()
        assert after.items() <= whole.items()
        for name in after:
            assert not name.endswith(ENDING) or name.replace(ENDING, ".json") in after
        interrupted += len(after) < len(whole)
        if len(after) == len(whole):
            shutil.rmtree(out)
    assert interrupted > KILLS // 3
    finished = {path: path.stat().st_mtime_ns for path in out.glob(f"*{ENDING}")}
    assert magms_predict(images, out, "--continue_prediction") == (0, [])
    assert contents(out) == whole
    assert not list(out.glob(".*"))
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


@pytest.mark.fault(15)
def test_results_of_another_model_subset_or_setting_are_refused(model, magms_predict, tmp_path):
    images, out = give(tmp_path / "images", {"a": [T1C], "b": [T1C, 0]}), tmp_path / "out"
    assert magms_predict(images, out, "--modalities", "T1c") == (0, [])
    (out / f"b{ENDING}").unlink()
    before = contents(out)
    other = shutil.copytree(model, tmp_path / "other")
    with open(other / "fold_0/checkpoint_final.pth", "ab") as file:
        file.write(b"\0")  # another SHA-256
    give(tmp_path / "images", {"a": [T1C, 0]})
    for flags in (("-m", other), ("--modalities", "T1c", "F"), ("-step_size", 1)):
        code, (line,) = magms_predict(images, out, "--continue_prediction", "--modalities", "T1c", *flags)
        assert code == 2
        assert f"a: {out / f'a{ENDING}'} was predicted by another model, from other modalities or with other" in line
        assert contents(out) == before


@pytest.mark.fault(15)
def test_result_whose_files_passed_only_laxer_checks_is_refused(magms_predict, tmp_path):
    """The other way round nothing would be another, so that what failed may be let through by the next run."""
    images, out = give(tmp_path / "images", {"a": [T1C]}), tmp_path / "out"
    assert magms_predict(images, out, "--nan-to-zero", "--geometry-tolerance", 0.5) == (0, [])
    kept = json.loads((out / "a.json").read_text())["checks"]
    assert (kept["nan_to_zero"], kept["allow_identical"], kept["geometry_tolerance"]) == (True, False, 0.5)
    for flags in ((), ("--nan-to-zero",), ("--geometry-tolerance", 1)):
        code, (line,) = magms_predict(images, out, "--continue_prediction", *flags)
        assert code == 2
        assert f"a: {out / f'a{ENDING}'} was predicted by another model, from other modalities or with other" in line
    laxer = ("--nan-to-zero", "--geometry-tolerance", 1, "--allow-identical")
    assert magms_predict(images, out, "--continue_prediction", *laxer) == (0, [])


@pytest.mark.fault(15)
def test_file_that_is_not_what_its_result_is_of_is_noticed(magms_predict, tmp_path):
    """Such as that of another folder with cases of the same names, whatever its time says."""
    images, out = give(tmp_path / "images", {"a": [T1C], "b": [T1C]}), tmp_path / "out"
    assert magms_predict(images, out) == (0, [])
    before = contents(out)
    path = images / f"b_0002{ENDING}"
    now = path.stat().st_mtime + 1000
    os.utime(path, (now, now))
    assert magms_predict(images, out, "--continue_prediction") == (0, [])
    like(path, sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[::-1])
    os.utime(path, (0, 0))
    code, (line,) = magms_predict(images, out, "--continue_prediction")
    assert code == 2
    assert f"b: {out / f'b{ENDING}'} was predicted from another b_0002{ENDING} than {path}: remove it" in line
    assert contents(out) == before


@pytest.mark.fault(15)
def test_probabilities_of_an_earlier_run_do_not_stay(magms_predict, tmp_path):
    images, out = give(tmp_path / "images", {"a": [T1C, 0]}), tmp_path / "out"
    assert magms_predict(images, out, "--modalities", "F", "--save_probabilities") == (0, [])
    assert {"a.npz", "a.pkl"} <= files_in(out)
    assert magms_predict(images, out, "--modalities", "T1c") == (0, [])
    assert not {"a.npz", "a.pkl"} & files_in(out)


@pytest.mark.fault(15)
def test_result_of_an_earlier_run_is_named_where_its_case_fails(magms_predict, tmp_path):
    images, out = give(tmp_path / "images", {"a": [T1C]}), tmp_path / "out"
    assert magms_predict(images, out) == (0, [])
    before = contents(out)
    (images / f"a_0002{ENDING}").write_bytes(b"")
    code, (line,) = magms_predict(images, out)
    assert code == 3
    assert line.endswith(f"is empty (0 bytes): copy it again; a{ENDING} in {out} is of an earlier run")
    assert contents(out) == before


@pytest.mark.fault(15)
@pytest.mark.slow
def test_evaluation_killed_at_random_moments_goes_on(model, tmp_path):
    images = give(tmp_path / "images", dict.fromkeys(CASES[:5], range(4)))
    for case in CASES[:5]:
        write_image(tmp_path / "labels" / f"{case}{ENDING}", np.ones(SHAPE, np.uint8))
    flags = ("-i", images, "-l", tmp_path / "labels", "-m", model, "--save_segmentations", "--disable_tta")

    def evaluate(output) -> int:
        return magms_evaluate([*map(str, ("-o", output, *flags, *QUIET))])

    assert evaluate(tmp_path / "whole") == 0
    whole, out, moments, interrupted = contents(tmp_path / "whole"), tmp_path / "out", random.Random(15), 0
    differ = ("run.json", "report.html", "slices/")  # they hold the command, the time, or are archives with dates
    command, undisturbed = ("magms_evaluate", *flags, "-device", "cpu"), tmp_path / "undisturbed"
    longest = seconds_undisturbed(undisturbed, *command, "-o", undisturbed, "-npp", 0, "-nps", 0)
    for number in range(KILLS):
        processes = ("-npp", number % 2, "-nps", number % 2)
        run_and_kill(moments.uniform(0, longest), out, *command, "-o", out, *processes)
        after = contents(out)
        assert after.keys() <= whole.keys()
        assert all(whole[name] == content for name, content in after.items() if not name.startswith(differ))
        for name in after:
            if name.startswith("slices/"):
                np.load(out / name)["predictions"]
            elif name.startswith("cases/"):
                assert f"slices/{Path(name).stem}.npz" in after
        assert "run.json" not in after or json.loads(after["run.json"])
        interrupted += "summary.json" not in after
        if "report.html" in after:
            shutil.rmtree(out)
    assert interrupted > KILLS // 3
    finished = {path: path.stat().st_mtime_ns for path in out.glob("cases/*.json")}
    assert evaluate(out) == 0
    assert contents(out).keys() == whole.keys()
    assert (out / "summary.json").read_bytes() == whole["summary.json"]
    assert not list(out.rglob(".*"))
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
