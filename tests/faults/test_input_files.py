"""Files that are no whole image: they are refused before the model loads."""

import gzip
import os

import nibabel
import numpy as np
import pytest

from magms_nnunet.cli.evaluate import main as magms_evaluate
from magms_nnunet.images.checks import check_case
from magms_nnunet.inference.pipeline import preprocessed_ahead
from magms_nnunet.inference.request import ModelRequest
from tests.faults.spoiled_image import FILE
from tests.faults.tiny import SHAPE, SIDE_FILES, give, voxels
from tests.integration.workspace import ENDING, QUIET, files_in, write_image


def truncated(path):
    path.write_bytes(path.read_bytes()[:-2000])


def too_short(path):
    """Properly compressed, but with fewer voxels than its header says; SimpleITK fills up with zeros."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-2000]))


def zero_bytes(path):
    path.write_bytes(b"")


def wrong_checksum(path):
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


def garbage(path):
    path.write_bytes(b"this is not an image")


def compressed_garbage(path):
    path.write_bytes(gzip.compress(b"this is not an image"))


def header_only(path):
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:352]))


def a_folder(path):
    path.unlink()
    path.mkdir()


def missing(path):
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.fault(8)
@pytest.mark.parametrize(
    ("spoil", "says", "remedy"),
    [
        (truncated, "truncated or damaged", "copy it again"),
        (too_short, "shorter than its header says", "copy it again"),
        (header_only, "shorter than its header says (352 of ", "copy it again"),
        (zero_bytes, "empty (0 bytes)", "copy it again"),
        (wrong_checksum, "truncated or damaged (CRC check failed", "copy it again"),
        (garbage, "truncated or damaged", "copy it again"),
        (compressed_garbage, "not an image", "replace it"),
        (a_folder, "is a folder", "give the image file"),
        (missing, "cannot be read (No such file or directory)", ""),
    ],
)
def test_file_that_is_no_whole_image_fails(spoil, says, remedy, images, failure):
    spoil(images / FILE)
    line = failure()
    assert says in line
    assert remedy in line


def not_compressed(path):
    path.write_bytes(gzip.decompress(path.read_bytes()))


def nifti_2(path):
    nibabel.save(nibabel.Nifti2Image(voxels(5).T, np.diag([-1, -1, 1.5, 1])), path)


def intercept_without_slope(path):
    """The checks would see 0 to 1292, the network -1024 to 268."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[112:120] = np.array([0, -1024], "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))


@pytest.mark.fault(8)
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (not_compressed, f"is not compressed, although its name ends in .gz: rename it to {FILE[:-3]} and gzip that"),
        (nifti_2, "is NIfTI-2, which SimpleITK, and so nnU-Net, does not read: save it as NIfTI-1"),
        (intercept_without_slope, "has scl_slope 0 and scl_inter -1024: SimpleITK multiplies by 1 and adds -1024"),
    ],
)
def test_file_whose_remedy_is_not_another_copy_says_so(spoil, says, images, failure):
    spoil(images / FILE)
    line = failure()
    assert says in line
    assert "copy it again" not in line


@pytest.mark.fault(8)
def test_name_that_is_not_utf8_fails(images, magms_predict, tmp_path):
    """SimpleITK would end the process."""
    (images / FILE).rename(os.fsdecode(os.fsencode(images) + b"/M\xfcller_0002.nii.gz"))
    code, lines = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert "has a name, or lies in a folder, that is not UTF-8: rename it" in lines[-1]
    assert files_in(tmp_path / "out") == SIDE_FILES | {f"p{n}{end}" for n in (1, 2) for end in (ENDING, ".json")}


CHANGED = "magms_predict: p2: its files have changed since they were checked: predict it again"


@pytest.mark.fault(8)
def test_file_that_is_cut_off_while_the_next_one_is_checked_fails(images, magms_predict, tmp_path, monkeypatch):
    def check_and_cut(case, *args, **kwargs):
        checked = check_case(case, *args, **kwargs)
        if case.name == "p2":
            too_short(images / FILE)
        return checked

    monkeypatch.setattr("magms_nnunet.inference.command.check_case", check_and_cut)
    code, (line,) = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert line == CHANGED


@pytest.mark.fault(8)
def test_evaluation_of_a_file_that_is_cut_off_after_it_was_checked_fails(model, tmp_path, monkeypatch, capfd):
    images = give(tmp_path / "images", dict.fromkeys(("p1", "p2"), range(4)))
    for case in ("p1", "p2"):
        write_image(tmp_path / "labels" / f"{case}{ENDING}", np.ones(SHAPE, np.uint8))

    def cut_and_preprocess(*args):
        too_short(images / FILE)
        return preprocessed_ahead(*args)

    monkeypatch.setattr("magms_nnunet.evaluation.score_cases.preprocessed_ahead", cut_and_preprocess)
    out = tmp_path / "out"
    where = ("-i", images, "-l", tmp_path / "labels", "-o", out, "-m", model, "--disable_tta", *QUIET)
    assert magms_evaluate([*map(str, where), "--subsets", "T1c"]) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "magms_evaluate: p2: its files have changed since they were checked: evaluate it again"
    assert files_in(out / "cases") == {"p1.json"}


@pytest.mark.fault(8)
def test_evaluation_of_a_file_that_does_not_fit_into_memory_fails(model, tmp_path, monkeypatch, capfd):
    images = give(tmp_path / "images", dict.fromkeys(("p1", "p2"), range(4)))
    for case in ("p1", "p2"):
        write_image(tmp_path / "labels" / f"{case}{ENDING}", np.ones(SHAPE, np.uint8))

    def check(case, *args, **kwargs):
        if case.name == "p2":
            raise MemoryError
        return check_case(case, *args, **kwargs)

    monkeypatch.setattr("magms_nnunet.evaluation.labelled_cases.check_case", check)
    out = tmp_path / "out"
    where = ("-i", images, "-l", tmp_path / "labels", "-o", out, "-m", model, "--disable_tta", *QUIET)
    assert magms_evaluate([*map(str, where), "--subsets", "T1c"]) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("magms_evaluate: p2: ")
    assert files_in(out / "cases") == {"p1.json"}


@pytest.mark.fault(8)
def test_file_that_is_cut_off_after_it_was_checked_fails(images, magms_predict, tmp_path, monkeypatch):
    load = ModelRequest.load

    def cut_and_load(request):
        too_short(images / FILE)
        return load(request)

    monkeypatch.setattr(ModelRequest, "load", cut_and_load)
    code, (line,) = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert line == CHANGED
    assert files_in(tmp_path / "out") == SIDE_FILES | {f"p1{ENDING}", "p1.json"}
