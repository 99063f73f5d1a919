"""Links and other traps that somebody else left in the folder where results go: not followed, not emptied."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from magms_nnunet.cli.evaluate import main as magms_evaluate
from magms_nnunet.errors import InputError
from magms_nnunet.storage.files import publish, remove_unfinished, write_then_rename
from magms_nnunet.storage.output_lock import locked_output
from tests.faults.tiny import SHAPE, SIDE_FILES, T1C, give
from tests.integration.workspace import ENDING, QUIET, files_in, write_image


@pytest.fixture
def precious(tmp_path) -> Path:
    """A folder with a file that must be as it was at the end."""
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.txt").write_text("all of it")
    yield folder
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("thesis.txt", "all of it")]


@pytest.mark.fault(12)
@pytest.mark.parametrize("name", [".magms_0_of_1", ".magms_1_of_3", ".magms_x", ".magms_x.json"])
@pytest.mark.parametrize("to_folder", [True, False])
def test_link_in_place_of_what_is_unfinished_is_refused(name, to_folder, precious, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).symlink_to(precious if to_folder else precious / "thesis.txt")
    with (
        pytest.raises(InputError, match=f"out/{name} is a symbolic link or a device, .*: remove it"),
        locked_output(out),
    ):
        pass
    assert [path.name for path in out.iterdir()] == [name]


@pytest.mark.fault(12)
def test_prediction_and_training_empty_no_linked_folder(magms_predict, make_trainer, precious, tmp_path):
    trainer = make_trainer()
    for out in (tmp_path / "out", Path(trainer.output_folder)):
        out.mkdir(exist_ok=True)
        (out / ".magms_0_of_1").symlink_to(precious)
    code, (line,) = magms_predict(give(tmp_path / "images", {"a": [T1C]}), tmp_path / "out")
    assert code == 2
    assert f"{tmp_path / 'out/.magms_0_of_1'} is a symbolic link or a device" in line
    with pytest.raises(InputError, match="is a symbolic link"):
        trainer.on_train_start()


@pytest.mark.fault(12)
@pytest.mark.parametrize("trap", ["link", "pipe", "hard link", "folder"])
def test_lock_of_another_kind_is_neither_opened_nor_written(trap, precious, tmp_path):
    lock = tmp_path / "out/.magms_0_of_1/lock"
    lock.parent.mkdir(parents=True)
    if trap == "link":
        lock.symlink_to(precious / "thesis.txt")
    elif trap == "pipe":
        os.mkfifo(lock)
    elif trap == "hard link":
        os.link(precious / "thesis.txt", lock)
    else:
        lock.mkdir()
    with locked_output(tmp_path / "out") as hidden:
        (hidden / "half").touch()
    assert files_in(tmp_path / "out") == set()


@pytest.mark.fault(12)
def test_lock_is_not_executable(tmp_path):
    before = os.umask(0o027)
    try:
        with locked_output(tmp_path) as hidden:
            assert stat.S_IMODE((hidden / "lock").stat().st_mode) == 0o640
        write_then_rename(tmp_path / "a.json", lambda name: Path(name).write_text("{}"))
        assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640
    finally:
        os.umask(before)


@pytest.mark.fault(12)
def test_evaluation_follows_no_link(model, precious, tmp_path, capfd):
    images = give(tmp_path / "images", {"a": range(4)})
    write_image(tmp_path / "labels" / f"a{ENDING}", np.ones(SHAPE, np.uint8))
    (precious / ".magms_left").touch()  # what a killed run of somebody else's would have left
    flags = ("-i", images, "-l", tmp_path / "labels", "-m", model, "--subsets", "T1c", "--save_segmentations", *QUIET)
    for number, name in enumerate(("cases", "slices", "segmentations", "segmentations/T1c")):
        out = tmp_path / f"out{number}"
        assert magms_evaluate([*map(str, ("-o", out, *flags))]) == 0
        if name.startswith("segmentations"):
            (out / "cases/a.json").unlink()
        kept = out / name
        kept.rename(tmp_path / f"kept{number}")
        kept.symlink_to(precious)
        capfd.readouterr()
        assert magms_evaluate([*map(str, ("-o", out, *flags))]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert f"{kept} is a symbolic link or a device" in line
    (precious / ".magms_left").unlink()


@pytest.mark.fault(12)
def test_what_is_written_replaces_a_link_and_not_its_target(precious, tmp_path):
    (tmp_path / "a.json").symlink_to(precious / "thesis.txt")
    write_then_rename(tmp_path / "a.json", lambda name: Path(name).write_text("{}"))
    assert not (tmp_path / "a.json").is_symlink()
    (tmp_path / "temporary").symlink_to(precious / "thesis.txt")
    with pytest.raises(OSError, match="temporary"):
        publish(tmp_path / "temporary", tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()


@pytest.mark.fault(12)
def test_leftovers_that_hold_links_go_and_their_targets_stay(precious, tmp_path):
    left = tmp_path / "out/.magms_left"
    left.mkdir(parents=True)
    (left / "folder").symlink_to(precious)
    (left / "file").symlink_to(precious / "thesis.txt")
    remove_unfinished(tmp_path / "out")
    assert files_in(tmp_path / "out") == set()


@pytest.mark.fault(26)
def test_case_named_like_an_unfinished_file_is_refused(magms_predict, model, tmp_path, capfd):
    images, out = give(tmp_path / "images", {"a": [T1C], ".magms_b": [T1C]}), tmp_path / "out"
    code, (line,) = magms_predict(images, out)
    assert code == 3
    said = f".magms_b_0002{ENDING}: begins with .magms_ as unfinished files do, which the next run would remove: rename"
    assert said in line
    assert files_in(out) == SIDE_FILES | {f"a{ENDING}", "a.json"}
    write_image(tmp_path / "labels" / f"a{ENDING}", np.ones(SHAPE, np.uint8))
    data = ("-i", images, "-l", tmp_path / "labels", "-m", model, "-o", tmp_path / "scores", *QUIET)
    assert magms_evaluate([*map(str, data)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert f"that belong to no case: .magms_b_0002{ENDING}" in line
    assert not (tmp_path / "scores").exists()
