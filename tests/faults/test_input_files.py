"""Files that are no whole image: they are refused before the model loads."""

import gzip
import os

import pytest

from magms_nnunet.inference.request import ModelRequest
from tests.faults.spoiled_image import FILE
from tests.faults.tiny import SIDE_FILES
from tests.integration.workspace import ENDING, files_in


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
        (a_folder, "cannot be read (Is a directory)", ""),
        (missing, "cannot be read (No such file or directory)", ""),
    ],
)
def test_row08_file_that_is_no_whole_image_fails(spoil, says, remedy, images, failure):
    spoil(images / FILE)
    line = failure()
    assert says in line
    assert remedy in line


def test_row08_name_that_is_not_utf8_fails(images, magms_predict, tmp_path):
    """SimpleITK would end the process."""
    (images / FILE).rename(os.fsdecode(os.fsencode(images) + b"/M\xfcller_0002.nii.gz"))
    code, lines = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert "has a name, or lies in a folder, that is not UTF-8: rename it" in lines[-1]
    assert files_in(tmp_path / "out") == SIDE_FILES | {f"p{n}{end}" for n in (1, 2) for end in (ENDING, ".json")}


def test_row08_file_that_is_cut_off_after_it_was_checked_fails(images, magms_predict, tmp_path, monkeypatch):
    load = ModelRequest.load

    def cut_and_load(request):
        too_short(images / FILE)
        return load(request)

    monkeypatch.setattr(ModelRequest, "load", cut_and_load)
    code, (line,) = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert line == "magms_predict: p2: its files have changed since they were checked: predict it again"
    assert files_in(tmp_path / "out") == SIDE_FILES | {f"p1{ENDING}", "p1.json"}
