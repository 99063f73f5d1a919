from pathlib import Path

import pytest

from magms_nnunet.files import write_then_rename


def test_replaces_the_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    write_then_rename(path, lambda temporary: Path(temporary).write_text("new"))
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(temporary):
        Path(temporary).write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_then_rename(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
