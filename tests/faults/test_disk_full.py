"""Disks that are full or read-only: said in one line, nothing half-written, the previous file unchanged."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from magms_nnunet.cli.compare import main as magms_compare
from magms_nnunet.cli.evaluate import main as magms_evaluate
from magms_nnunet.errors import InputError
from magms_nnunet.storage.files import write_then_rename
from magms_nnunet.storage.written_image import check_written
from tests.evaluation.evaluation_folder import write_evaluation
from tests.faults.small_disk import fill
from tests.faults.tiny import SHAPE, SIDE_FILES, T1C, give
from tests.integration.workspace import ENDING, QUIET, files_in, write_image

LOG = "magms_predict.log"


@pytest.fixture
def broken_model(model, tmp_path):
    """One whose checkpoint cannot be loaded: a message about the output shows that nobody tried."""
    folder = shutil.copytree(model, tmp_path / "broken")
    for path in folder.rglob("*.pth"):
        path.write_bytes(b"no checkpoint")
    return folder


@pytest.fixture
def labelled(tmp_path):
    """Flags of an evaluation of one case."""
    write_image(tmp_path / "labels" / f"a{ENDING}", np.ones(SHAPE, np.uint8))
    return "-i", give(tmp_path / "images", {"a": range(4)}), "-l", tmp_path / "labels"


def compare(tmp_path, *flags) -> int:
    folder = tmp_path / "ours"
    if not folder.exists():
        write_evaluation(folder, {"T1c": {"a": 0.5}}, ["T1c"])
    return magms_compare([*map(str, (folder, *flags))])


def evaluate(*flags) -> int:
    return magms_evaluate([*map(str, (*flags, "--disable_tta", *QUIET))])


@pytest.mark.fault(12)
def test_output_on_a_read_only_disk(mount, broken_model, magms_predict, labelled, tmp_path, capfd):
    disk = mount(64, "ro")
    said = f"cannot write to output folder {disk} (Read-only file system): choose another -o"
    code, (line,) = magms_predict(tmp_path / "images", disk, "-m", broken_model)
    assert code == 2
    assert said in line
    assert evaluate("-o", disk, "-m", broken_model, *labelled) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert compare(tmp_path, "-o", disk) == 2
    assert capfd.readouterr().err == f"magms_compare: error: {said}\n"


@pytest.mark.fault(12)
def test_output_below_a_file(broken_model, magms_predict, labelled, tmp_path, capfd):
    (tmp_path / "file").touch()
    code, (line,) = magms_predict(tmp_path / "images", tmp_path / "file/out", "-m", broken_model)
    assert code == 2
    assert f"cannot write to output folder {tmp_path / 'file/out'}" in line
    assert evaluate("-o", tmp_path / "file/out", "-m", broken_model, *labelled) == 2
    assert "cannot write to output folder" in capfd.readouterr().err
    assert compare(tmp_path, "-o", tmp_path / "file/out") == 2
    assert f"cannot write to output folder {tmp_path / 'file/out'}" in capfd.readouterr().err


@pytest.mark.fault(12)
def test_output_is_what_is_read(broken_model, magms_predict, labelled, tmp_path, capfd):
    images = tmp_path / "images"
    before = {path: path.read_bytes() for path in images.iterdir()}
    code, (line,) = magms_predict(images, images / "../images", "-m", broken_model)
    assert code == 2
    assert "-i and -o are the same folder" in line
    code, (line,) = magms_predict(
        images, tmp_path / "labels", "-m", broken_model, "-prev_stage_predictions", tmp_path / "labels"
    )
    assert code == 2
    assert "-prev_stage_predictions and -o are the same folder" in line
    assert evaluate("-o", images, "-m", broken_model, *labelled) == 2
    assert "-i and -o are the same folder" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in images.iterdir()} == before


@pytest.mark.fault(12)
@pytest.mark.parametrize("file", [f"a{ENDING}", "a.json", "a.npz", "a.pkl", "dataset.json"])
def test_files_of_others_are_not_replaced(file, magms_predict, tmp_path):
    """Such as the labels and the dataset.json of a dataset."""
    images, out = give(tmp_path / "images", {"a": [T1C]}), tmp_path / "out"
    out.mkdir()
    (out / file).write_text('{"labels": "by hand"}')
    code, (line,) = magms_predict(images, out)
    assert code == (2 if file == "dataset.json" else 3)
    assert f"{out / file} is " in line
    assert "choose another output folder" in line
    assert files_in(out) == {file}
    assert (out / file).read_text() == '{"labels": "by hand"}'


@pytest.mark.fault(12)
def test_output_is_the_model(model, magms_predict, tmp_path):
    """Whose dataset.json and plans.json would be written anew."""
    code, (line,) = magms_predict(give(tmp_path / "images", {"a": [T1C]}), model)
    assert code == 2
    assert line.endswith(f"-o {model} is the model's folder: choose another one")


@pytest.mark.fault(13)
def test_disk_full_while_results_are_written(mount, magms_predict, tmp_path):
    disk, images = mount(256), tmp_path / "images"
    for case in "ab":
        noise = np.random.default_rng(0).normal(100, 20, (40, 48, 48)).astype(np.float32)
        write_image(images / f"{case}_0002{ENDING}", noise)
    assert magms_predict(images, disk) == (0, [])
    assert (disk / f"a{ENDING}").stat().st_size > 8192
    assert files_in(disk) == SIDE_FILES | {f"a{ENDING}", "a.json", f"b{ENDING}", "b.json"}
    before = {path: path.read_bytes() for path in disk.iterdir() if path.name != LOG}
    full = fill(disk, 16_384)  # the lock, dataset.json, plans.json and log can be written, and half a segmentation
    code, lines = magms_predict(images, disk, "--modalities", "T1c")
    assert code == 3
    for case, line in zip("ab", lines, strict=True):
        assert line == (
            f"magms_predict: {case}: no space left on the disk of {disk}: {case}{ENDING} is not written, "
            "the previous file is unchanged; free some, then continue"
        )
    full.unlink()
    assert {path: path.read_bytes() for path in disk.iterdir() if path.name != LOG} == before
    assert (
        (disk / LOG).read_text().splitlines()[-1].split(" ", 1)[1].startswith("end: 0 done, 0 of them weak, 2 failed")
    )


@pytest.mark.fault(13)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_segmentation_that_was_cut_off_silently_is_noticed(ending, mount):
    """SimpleITK reports no error."""
    disk = mount(64)
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 255, (48, 48, 48), np.uint8))
    sitk.WriteImage(image, disk / f"a{ending}")
    with pytest.raises(OSError, match=f"a{ending} was not written completely"):
        check_written(disk / f"a{ending}")
    sitk.WriteImage(image[:8, :8, :8], disk / f"a{ending}")
    check_written(disk / f"a{ending}")


@pytest.mark.fault(13)
def test_no_space_for_anything(mount, magms_predict, tmp_path):
    disk = mount(64)
    full = fill(disk)
    code, (line,) = magms_predict(give(tmp_path / "images", {"a": [T1C]}), disk)
    assert code == 2
    assert "no space left on" in line
    full.unlink()
    assert files_in(disk) == set()


@pytest.mark.fault(13)
def test_after_space_was_freed_the_prediction_continues(mount, magms_predict, tmp_path):
    disk, images = mount(256), give(tmp_path / "images", {"a": [T1C], "b": [T1C]})
    full = fill(disk, 20_480)
    assert magms_predict(images, disk)[0] == 3
    full.unlink()
    assert not {name for name in files_in(disk) if name.startswith(".")}
    assert magms_predict(images, disk, "--continue_prediction") == (0, [])
    assert magms_predict(images, tmp_path / "out") == (0, [])
    for path in (tmp_path / "out").iterdir():
        assert path.name == LOG or (disk / path.name).read_bytes() == path.read_bytes()


@pytest.mark.fault(13)
def test_disk_full_during_an_evaluation(mount, model, labelled, capfd):
    disk = mount(512)
    flags = ("-o", disk / "out", "-m", model, *labelled, "--save_segmentations")
    full = fill(disk, 32_768)
    assert evaluate(*flags) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert re.fullmatch(rf"magms_evaluate: a: no space left on the disk of {disk}/out.*: .* is not written.*", line)
    full.unlink()
    assert not {name for name in files_in(disk) if name.startswith(".")}
    assert not list((disk / "out/cases").iterdir())
    assert evaluate(*flags) == 0
    assert json.loads((disk / "out/summary.json").read_text())["cases"] == 1
    assert len(list(disk.rglob(f"a{ENDING}"))) == 15


@pytest.mark.fault(13)
def test_disk_full_while_a_checkpoint_is_written(mount, make_trainer):
    trainer, disk = make_trainer(), mount(8192)
    path = disk / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(path))
    before = path.read_bytes()
    fill(disk, len(before) // 2)
    trainer.current_epoch = 7
    with pytest.raises(InputError) as error:
        trainer.save_checkpoint(str(path))
    assert str(error.value) == (
        f"no space left on the disk of {disk}: checkpoint_latest.pth is not written, "
        "the previous file is unchanged; free some, then continue"
    )
    assert files_in(disk) == {"checkpoint_latest.pth", "full"}
    assert path.read_bytes() == before
    assert torch.load(path, weights_only=False)["current_epoch"] == 1


@pytest.mark.fault(13)
def test_a_failure_for_another_reason_is_not_blamed_on_the_disk(tmp_path):
    def fail(temporary):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        write_then_rename(tmp_path / "summary.json", fail)


@pytest.mark.fault(13)
@pytest.mark.parametrize("left", [0, 2, 5, 8])
def test_inodes_exhausted_while_results_are_written(left, mount, magms_predict, tmp_path):
    images, out = give(tmp_path / "images", {"a": [T1C]}), mount(4096, "nr_inodes=40") / "out"
    out.mkdir()
    fillers = []
    while os.statvfs(out).f_favail:
        fillers.append(out.parent / f"{len(fillers)}")
        fillers[-1].touch()
    for path in fillers[:left]:
        path.unlink()
    code, (line,) = magms_predict(images, out)
    assert code in (2, 3)
    assert "no space (inodes) left" in line
    assert not any(path.name.startswith(("a.", ".")) for path in out.iterdir())
    for path in fillers[left:]:
        path.unlink()
    assert magms_predict(images, out, "--continue_prediction") == (0, [])
    assert files_in(out) == SIDE_FILES | {f"a{ENDING}", "a.json"}
