"""Files that are no whole image: they are refused before the model loads."""

import gzip

import pytest

from tests.faults.spoiled_image import FILE


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
