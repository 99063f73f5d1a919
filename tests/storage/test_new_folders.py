import os
import subprocess
import sys

import pytest

from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.storage import new_folders as module
from magms_nnunet.storage.new_folders import new_folders

NAMES = ["one", "parent/two"]
SIGNALLED = """
import os, signal, sys
from pathlib import Path
from magms_nnunet.storage import new_folders
from magms_nnunet.cli import exits

rename, calls = os.rename, []

def stopped(source, target):
    rename(source, target)
    calls.append(source)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGTERM)

def run():
    os.rename = stopped
    with new_folders.new_folders(["model"], Path(sys.argv[1]), ".hidden_", overwrite=True) as new:
        (new / "model").mkdir()
        (new / "model/file").write_text("new")

sys.exit(exits.run("magms_import", run, debug=False))
"""


@pytest.fixture
def home(tmp_path):
    """Folders of which the first is there already."""
    fill(tmp_path / "home", "old", NAMES[:1])
    return tmp_path / "home"


def fill(folder, text, names=NAMES):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text(text)


def texts(folder) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def replace(home, overwrite=True, meanwhile=lambda: None):
    with new_folders(NAMES, home, ".hidden_", overwrite) as new:
        fill(new, "new")
        meanwhile()


NEW = {"one/file": "new", "parent/two/file": "new"}
OLD = {"one/file": "old"}


def test_all_are_replaced_and_nothing_else_stays(home):
    replace(home)
    assert texts(home) == NEW
    assert not list(home.glob(".*"))


def test_a_failing_block_changes_nothing(home):
    def fail():
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace(home, meanwhile=fail)
    assert texts(home) == OLD
    assert not list(home.glob(".*"))


def test_whenever_it_is_interrupted_all_are_old_or_all_are_new(home, tmp_path):
    """At each line of the move in turn, until it comes through."""
    outcomes = []
    for number in range(1, 1000):
        folder = tmp_path / str(number)
        fill(folder, "old", NAMES[:1])
        lines = 0

        def trace(frame, event, _, last=number):
            nonlocal lines
            if frame.f_code not in (module._move.__code__, module._move_one.__code__):
                return None
            lines += event == "line"
            if lines == last:
                lines += 1
                raise KeyboardInterrupt
            return lambda *arguments: trace(*arguments)

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            replace(folder)
        except KeyboardInterrupt:
            outcomes.append(texts(folder))
        else:
            break
        finally:
            sys.settrace(before)
        assert not list(folder.glob(".*"))
    assert len(outcomes) > 10
    assert all(outcome in (OLD, NEW) for outcome in outcomes)
    assert OLD in outcomes


@pytest.mark.process
@pytest.mark.parametrize(("renames", "text"), [(1, "old"), (2, "old"), (3, "new")])
def test_a_real_signal_between_the_renames(renames, text, tmp_path):
    fill(tmp_path / "home", "old", ["model"])
    (tmp_path / "run.py").write_text(SIGNALLED)
    command = [sys.executable, tmp_path / "run.py", tmp_path / "home", str(renames)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (143, "magms_import: interrupted\n")
    assert texts(tmp_path / "home") == {"model/file": text}
    assert not list((tmp_path / "home").glob(".*"))


def test_what_cannot_be_put_back_is_kept_and_it_is_said_where(home, monkeypatch):
    rename = os.rename

    def only_away(source, target):
        if "old" not in target.parts:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(module.os, "rename", only_away)
    with (
        pytest.warns(InputWarning, match=rf"{home}/one could not be put back and lies in .*/old/one: move it back"),
        pytest.raises(OSError, match="Input/output"),
    ):
        replace(home)
    (hidden,) = home.glob(".*")
    assert (hidden / "old/one/file").read_text() == "old"


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_appears_meanwhile_stays(kind, home, tmp_path):
    two = home / NAMES[1]

    def appear():
        two.parent.mkdir()
        if kind == "folder":
            fill(home, "theirs", NAMES[1:])
        elif kind == "file":
            two.write_text("theirs")
        else:
            two.symlink_to(tmp_path / "nowhere")

    (home / "one").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{two} has appeared meanwhile and is left as it is: move it away"):
        replace(home, overwrite=False, meanwhile=appear)
    assert not (home / "one").exists()
    assert os.path.lexists(two)
    assert set(texts(home).values()) <= {"theirs"}
    assert not list(home.glob(".*"))
