"""``magms_predict --dry-run``: what would be done, from headers alone, and nothing written."""

import gzip

import pytest

from magms_nnunet.cli.predict import main
from tests.faults.tiny import give, model, voxels  # noqa: F401
from tests.integration.workspace import ENDING, QUIET, write_image


def dry_run(capfd, *flags) -> tuple[int, list[str], list[str]]:
    capfd.readouterr()
    code = main([*map(str, (*flags, "-f", 0, "--disable_tta", *QUIET, "--dry-run"))])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


@pytest.fixture
def without_voxels(monkeypatch):
    def refuse(*_):
        raise AssertionError("voxels are read")

    for what in ("images.files._Chunks.__iter__", "images.files.read_array", "inference.command.check_case"):
        monkeypatch.setattr(f"magms_nnunet.{what}", refuse)


def test_a_folder(model, tmp_path, capfd, without_voxels):  # noqa: F811
    images = give(tmp_path / "in", {"p1": range(4), "p2": (0, 2), "p3": (0, 2), "p4": (0, 1), "p5": (3,)})
    write_image(images / f"p4_0001{ENDING}", voxels(1)[1:])
    (images / f"p5_0003{ENDING}").write_bytes(b"garbage")
    (images / f"nobody{ENDING}").touch()
    code, out, err = dry_run(capfd, "-i", images, "-o", tmp_path / "out", "-m", model)
    assert code == 3
    assert out == ["1 case from FLAIR+T1+T1c+T2", "2 cases from FLAIR+T1c", "3 to predict, 0 finished, 3 would fail"]
    assert [line.split(": ")[1] for line in err] == [f"nobody{ENDING}", "p4", "p5"]
    assert "p4_0001.nii.gz (T1) has 16x17x17 voxels, p4_0000.nii.gz (FLAIR) has 16x17x18" in err[1]
    assert not (tmp_path / "out").exists()


def test_a_part_of_a_table_of_which_something_is_done(model, tmp_path, capfd, without_voxels):  # noqa: F811
    write_image(tmp_path / "a.nii.gz", voxels(0))
    table = tmp_path / "patients.csv"
    table.write_text("case,FLAIR,T1c\n" + "".join(f"p{n},a.nii.gz,\n" for n in range(6)))
    (tmp_path / "out").mkdir()
    (tmp_path / f"out/p2{ENDING}").touch()
    (tmp_path / "out/p2.json").write_text('{"modalities_used": ["FLAIR"]}')
    flags = ("--cohort", table, "-o", tmp_path / "out", "-m", model, "-num_parts", 2, "-part_id", 0)
    assert dry_run(capfd, *flags, "--c")[:2] == (0, ["2 cases from FLAIR", "2 to predict, 1 finished, 0 would fail"])
    assert dry_run(capfd, *flags)[1][-1] == "3 to predict, 0 finished, 0 would fail"


def test_headers_that_differ_in_what_the_grid_needs_are_told_apart(model, tmp_path, capfd):  # noqa: F811
    """Files whose headers agree on the grid are read once; a single byte of it makes another grid."""
    images = give(tmp_path / "in", {"p1": (0, 2)})
    path = images / f"p1_0002{ENDING}"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[148:152] = b"text"  # descrip
    path.write_bytes(gzip.compress(bytes(content)))
    assert dry_run(capfd, "-i", images, "-o", tmp_path / "out", "-m", model)[0] == 0
    content[80:84] = gzip.decompress((images / f"p1_0000{ENDING}").read_bytes())[80:84][::-1]  # pixdim[1]
    path.write_bytes(gzip.compress(bytes(content)))
    assert dry_run(capfd, "-i", images, "-o", tmp_path / "out", "-m", model)[0] == 3


def test_one_patient_has_no_dry_run(model, tmp_path, capfd):  # noqa: F811
    with pytest.raises(SystemExit):
        dry_run(capfd, "--image", "T1=x.nii.gz", "-o", tmp_path / "x.nii.gz", "-m", model)
    assert "--dry-run: for many cases, not for one patient" in capfd.readouterr().err
