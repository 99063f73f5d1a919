"""Rows 21 and 22: zips that are not what they seem, and model files that are not what was exported."""

import json
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from magms_nnunet.cli import import_model
from magms_nnunet.errors import InputError
from magms_nnunet.model.install import install_models
from magms_nnunet.model.model import load_model
from tests.faults.shared_models import CHECKPOINT, edit, home, pack, run, spoilt, tree  # noqa: F401 (fixtures)
from tests.faults.tiny import model  # noqa: F401 (a fixture)

MODEL = "Dataset999_Tiny/MAGMSTrainer__MAGMSPlans__tiny"


@pytest.fixture
def exported(run, spoilt, tmp_path) -> Path:  # noqa: F811
    """A good zip of the model, which is removed where it was made."""
    assert run("export")[0] == 0
    shutil.rmtree(spoilt)
    return (tmp_path / "out").rename(tmp_path / "model.zip")


@pytest.fixture
def nothing_changes(home, tmp_path):  # noqa: F811
    """Checks that a test leaves nnU-Net's folders as they are, and puts nothing beside them."""
    before, beside = None, None

    def start():
        nonlocal before, beside
        before, beside = tree(home), {path.name for path in tmp_path.iterdir()}

    yield start
    assert tree(home) == before
    assert {path.name for path in tmp_path.iterdir()} == beside


def link(target: str) -> tuple[zipfile.ZipInfo, str]:
    entry = zipfile.ZipInfo(f"{MODEL}/fold_0/linked.pth")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return entry, target


def device() -> tuple[zipfile.ZipInfo, str]:
    entry = zipfile.ZipInfo(f"{MODEL}/fold_0/device.pth")
    entry.create_system, entry.external_attr = 3, (stat.S_IFCHR | 0o666) << 16
    return entry, ""


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (("../../up.pth", "x"), "'../../up.pth' leads out of its folder"),
        ((f"{MODEL}/../../../up.pth", "x"), "up.pth' leads out of its folder"),
        ((f"{MODEL}/fold_0/..\\..\\up.pth", "x"), "leads out of its folder"),
        (("/tmp/up.pth", "x"), "'/tmp/up.pth' has an absolute path"),
        (("C:\\up.pth", "x"), "has an absolute path"),
        (("\\\\server\\share\\up.pth", "x"), "has an absolute path"),
        (link("/etc/passwd"), "linked.pth' is a link or a device"),
        (link("../../.."), "linked.pth' is a link or a device"),
        (device(), "device.pth' is a link or a device"),
        ((f"{MODEL}/PLANS.json", "x"), "PLANS.json' is there twice"),
    ],
)
def test_hostile_entry_is_refused_by_name(entry, says, exported, run, nothing_changes):  # noqa: F811
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(*entry)
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert f"{exported}: entry " in line
    assert says in line


@pytest.mark.fault(21)
def test_bomb_is_refused_before_it_is_unpacked(exported, run, nothing_changes):  # noqa: F811
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(f"{MODEL}/fold_1/checkpoint_final.pth", bytes(120 << 20), zipfile.ZIP_DEFLATED)
    assert exported.stat().st_size < 1 << 20
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert re.search(r"would unpack to 12\d{7}:", line)


@pytest.mark.fault(21)
def test_bomb_that_lies_about_its_size_is_cut_off(exported, run, nothing_changes):  # noqa: F811
    """The size in the list of entries is what is counted, so no more than that is unpacked."""
    name = f"{MODEL}/fold_0/progress.png"
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(name, bytes(120 << 20), zipfile.ZIP_DEFLATED)
        archive.getinfo(name).file_size = 1000  # what is written to the list of entries when it is closed
        archive._didModify = True
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert "damaged" in line


@pytest.mark.fault(21)
def test_too_many_entries(exported, run, nothing_changes):  # noqa: F811
    with zipfile.ZipFile(exported, "a") as archive:
        for number in range(10_001):
            archive.writestr(f"{number}", "")
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert "entries, which no model does" in line


@pytest.mark.fault(21)
@pytest.mark.parametrize("size", [0, 1000, -1000])
def test_truncated_zip(size, exported, run, nothing_changes):  # noqa: F811
    exported.write_bytes(exported.read_bytes()[:size])
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert str(exported) in line
    assert "damaged" in line


@pytest.mark.fault(21)
def test_flipped_bit(exported, run, nothing_changes):  # noqa: F811
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 1
    exported.write_bytes(content)
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert "is damaged (Bad CRC-32" in line


@pytest.mark.fault(21)
@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_in_any_compression(compression, exported, run, nothing_changes):  # noqa: F811
    name = f"{MODEL}/fold_0/progress.png"
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(name, bytes(range(256)) * 100, compression)
        entry = archive.getinfo(name)
    content = bytearray(exported.read_bytes())
    start = entry.header_offset + 30 + len(name)
    content[start + 16 : start + entry.compress_size] = bytes(entry.compress_size - 16)
    exported.write_bytes(content)
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert f"{exported}: entry {name} is damaged (" in line
    assert "None" not in line


@pytest.mark.fault(21)
def test_not_a_zip_at_all(tmp_path, run, home, nothing_changes):  # noqa: F811
    nothing_changes()
    assert run("import_model") == (
        2,
        f"magms_import: error: {tmp_path / 'model.zip'} is not a zip file, or damaged "
        f"([Errno 2] No such file or directory: '{tmp_path / 'model.zip'}'): copy it again",
    )


@pytest.mark.fault(21)
def test_zip_without_a_model(tmp_path, run, nothing_changes):  # noqa: F811
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("holiday.jpg", "x")
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert "holds no model" in line


@pytest.mark.fault(21)
def test_existing_model_is_not_overwritten(run, spoilt, tmp_path, nothing_changes):  # noqa: F811
    pack(spoilt, tmp_path / "model.zip")
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert f"{spoilt} exists: replace it with --overwrite" in line


@pytest.mark.fault(21)
def test_existing_model_is_replaced_as_a_whole_when_asked(exported, run, spoilt):  # noqa: F811
    (spoilt / "fold_3").mkdir(parents=True)
    (spoilt / "fold_3/checkpoint_final.pth").write_text("of the model before")
    assert run("import_model", "--overwrite")[0] == 0
    assert not (spoilt / "fold_3").exists()
    assert load_model(spoilt, [0]).folds == (0,)
    assert not list(spoilt.parents[1].glob(".magms_*"))


@pytest.mark.fault(21)
def test_a_second_model_that_is_bad_keeps_the_first_from_being_installed(exported, run, home, nothing_changes):  # noqa: F811
    bad = "Dataset998_Bad/MAGMSTrainer__MAGMSPlans__tiny"
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(f"{bad}/fold_0/checkpoint_final.pth", "x")
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert f"{exported}: {bad} is not a trained model: it has no plans.json" in line


@pytest.mark.fault(22)
@pytest.mark.parametrize("file", ["plans.json", "dataset.json", CHECKPOINT, "fold_0/checkpoint_final.safetensors"])
def test_files_altered_in_the_zip_are_refused(file, exported, run, spoilt, tmp_path, nothing_changes):  # noqa: F811
    with zipfile.ZipFile(exported) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content[f"{MODEL}/{file}"] += b" "
    with zipfile.ZipFile(exported, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert f"{MODEL}/{file} was altered after the model was exported" in line


@pytest.mark.fault(22)
def test_files_that_are_missing_or_added_in_the_zip_are_refused(exported, run, nothing_changes):  # noqa: F811
    lost = f"{MODEL}/fold_0/checkpoint_final.safetensors"
    with zipfile.ZipFile(exported) as archive:
        content = {name: archive.read(name) for name in archive.namelist() if name != lost}
    with zipfile.ZipFile(exported, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert "lacks fold_0/checkpoint_final.safetensors, which magms_manifest.json lists" in line
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(f"{MODEL}/fold_1/checkpoint_final.pth", "x")
    nothing_changes()
    code, line = run("import_model")
    assert code == 2
    assert "fold_1/checkpoint_final.pth was not among them when the model was exported" in line


@pytest.mark.fault(22)
@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize("file", ["plans.json", "dataset.json", CHECKPOINT])
def test_files_altered_after_the_import_are_refused(command, file, exported, run, spoilt):  # noqa: F811
    assert run("import_model")[0] == 0
    assert run(command)[0] == 0
    with open(spoilt / file, "ab") as altered:
        altered.write(b" ")
    shutil.rmtree(exported.parent / "out")
    code, line = run(command)
    assert code == 2
    assert f"{spoilt / file} was altered after the model was exported" in line


@pytest.mark.fault(22)
def test_a_damaged_manifest_is_refused(exported, run, spoilt):  # noqa: F811
    assert run("import_model")[0] == 0
    edit(spoilt / "magms_manifest.json", lambda manifest: manifest.pop("files"))
    code, line = run("predict")
    assert code == 2
    assert "magms_manifest.json is damaged" in line


@pytest.mark.fault(22)
def test_attaching_an_evaluation_is_no_alteration(exported, run, spoilt):  # noqa: F811
    assert run("import_model")[0] == 0
    assert run("evaluate", "--attach")[0] == 0
    assert run("predict")[0] == 0
    assert json.loads((exported.parent / "out/case.json").read_text())["expected_dice"] is not None


@pytest.mark.fault(21)
@pytest.mark.slow
def test_killed_while_it_installs(exported, spoilt, home):  # noqa: F811
    """Nothing stands under the model's name; the next import needs no tidying up."""
    command = [str(Path(sys.executable).parent / "python"), "-m", "magms_nnunet.cli.import_model", "-i", str(exported)]
    with subprocess.Popen(command) as process:
        while process.poll() is None and not list(home.glob(".magms-import_*/new")):
            pass
        process.kill()
    assert process.returncode < 0
    assert not spoilt.exists()
    installed, _ = install_models(exported, home)
    assert installed[0].folder == spoilt


@pytest.mark.fault(21)
def test_a_folder_that_cannot_be_written_to(exported, home, monkeypatch):  # noqa: F811
    (home / "file").touch()
    with pytest.raises(InputError, match=r"cannot install .* in .*file"):
        install_models(exported, home / "file")


@pytest.mark.fault(26)
def test_names_in_a_zip_cannot_write_to_the_terminal(exported, spoilt, home, capfd):  # noqa: F811
    """An entry that no model needs, whose name would clear the screen and add a line."""
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr("notes\x1b[2J\x1b]0;title\x07\nDataset1/Model: T1c; fold 0\u202e.txt", "")
    capfd.readouterr()
    assert import_model.main(["-i", str(exported), "--overwrite"]) == 0
    printed = capfd.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("Dataset1/") for line in lines)
    assert r"left out: notes\x1b[2J\x1b]0;title\x07\nDataset1/Model" in lines[-1]
