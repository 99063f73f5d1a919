import signal
import subprocess
import sys
from pathlib import Path

import pytest

from magms_nnunet.storage.files import remove_unfinished, write_then_rename


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


def test_two_that_write_one_file_at_once_do_not_mix(tmp_path):
    """The second begins and ends while the first is writing."""
    path = tmp_path / "a.zip"

    def write_slowly(temporary):
        with open(temporary, "w") as file:
            file.write("first")
            file.flush()
            write_then_rename(path, lambda other: Path(other).write_text("2nd"))
            assert path.read_text() == "2nd"
            file.write(" file")

    write_then_rename(path, write_slowly)
    assert path.read_text() == "first file"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.process
def test_what_a_killed_process_leaves_is_hidden_and_removed(tmp_path):
    path = tmp_path / "a.json"
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom magms_nnunet.storage.files import write_then_rename\n"
        "def write(name):\n    Path(name).write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_then_rename(sys.argv[1], write)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, path]).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".magms_")
    assert left.suffix == ".json"
    remove_unfinished(tmp_path)
    assert not list(tmp_path.iterdir())
