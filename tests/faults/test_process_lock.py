"""Two runs into one output folder, and parts of different runs."""

import getpass
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from magms_nnunet.cli.evaluate import main as magms_evaluate
from magms_nnunet.errors import InputError
from magms_nnunet.storage.output_lock import locked_output
from tests.faults.commands import wait_for
from tests.faults.tiny import SHAPE, T1C, give
from tests.integration.workspace import ENDING, QUIET, files_in, write_image
from tests.unprivileged import NOBODY, another_users

HOLDER = """
import os, sys, time
from pathlib import Path
from magms_nnunet.storage.output_lock import locked_output

with locked_output(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])) as hidden:
    (hidden / "half.nii.gz").touch()
    if sys.argv[4:] and os.fork() == 0:
        time.sleep(60)  # as processes that augment outlive a training that is killed
        os._exit(0)
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """holder(part, parts): a process that holds the lock of tmp_path / "out" until it is killed."""
    script, processes = tmp_path / "holder.py", []
    script.write_text(HOLDER)
    (tmp_path / "out").mkdir()

    def start(part=0, parts=1, *forks, out=tmp_path / "out"):
        arguments = [sys.executable, script, out, part, parts, *forks]
        process = subprocess.Popen([*map(str, arguments)], stdout=subprocess.PIPE, text=True, start_new_session=True)
        processes.append(process)
        assert process.stdout.readline() == "locked\n"
        return process

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it forked, too
        process.wait()
        process.stdout.close()


def refused(output, *part) -> str:
    before = files_in(output)
    with pytest.raises(InputError) as error, locked_output(output, *part):
        pass
    assert files_in(output) == before
    return str(error.value)


@pytest.mark.fault(25)
def test_second_run_refuses_and_names_the_first(holder, tmp_path):
    first = holder()
    message = refused(tmp_path / "out")
    assert f"another run is writing to {tmp_path / 'out'} (process {first.pid} on " in message
    assert message.endswith("holder.py): wait for its end, or use another folder")


@pytest.mark.fault(25)
def test_lock_of_a_killed_run_is_stale_and_what_it_left_goes(holder, tmp_path):
    first = holder()
    first.kill()
    first.wait()
    (tmp_path / "out/.magms_summary.json").touch()
    (tmp_path / "out/other.txt").touch()
    assert files_in(tmp_path / "out") >= {".magms_0_of_1", "half.nii.gz"}
    with locked_output(tmp_path / "out"):
        assert files_in(tmp_path / "out") == {".magms_0_of_1", "lock", "other.txt"}
    assert files_in(tmp_path / "out") == {"other.txt"}


@pytest.mark.fault(25)
def test_lock_that_only_orphans_of_a_killed_run_hold_is_stale(holder, tmp_path):
    first = holder(0, 1, "forks")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    with locked_output(tmp_path / "out") as hidden:
        assert {path.name for path in hidden.iterdir()} == {"lock"}
        assert "another run" in refused(tmp_path / "out")


@pytest.fixture
def shared():
    """A folder that every user may enter and write to."""
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o755)
        folder = Path(home, "out")
        folder.mkdir()
        folder.chmod(0o777)
        yield folder


@pytest.mark.fault(25)
def test_lock_of_another_user_names_that_user_and_is_no_obstacle_when_it_is_dead(holder, shared):
    first = holder(out=shared)
    with another_users(shared / ".magms_0_of_1"):
        message = refused(shared)
        assert f"another run is writing to {shared} (process {first.pid} on " in message
        assert os.geteuid() != NOBODY or ", user root): wait for its end" in message
        first.kill()
        first.wait()
        with locked_output(shared) as hidden:
            assert hidden.name == ".magms_0_of_1_1"  # the other user's folder cannot be removed
            (hidden / "half").touch()
            assert "another run is writing" in refused(shared)
        assert files_in(shared) == {".magms_0_of_1", "lock", "half.nii.gz"}
    with locked_output(shared):  # the one who left it
        assert files_in(shared) == {".magms_0_of_1", "lock"}


@pytest.mark.fault(25)
def test_lock_that_only_its_user_may_read_is_refused_by_that_users_name(shared):
    hidden = shared / ".magms_0_of_1"
    hidden.mkdir()
    (hidden / "lock").touch()
    (hidden / "lock").chmod(0)
    with another_users(hidden):
        assert f"belongs to user {getpass.getuser()}, and only that user may look at it" in refused(shared)


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    "said", [b"", b"{", b"[" * 4000, b"[1]", b'{"process": "\\u001b[2J", "host": {}}', b'{"process": -1}', b"\xff"]
)
def test_lock_that_says_nonsense_of_its_owner(said, holder, tmp_path):
    holder()
    (tmp_path / "out/.magms_0_of_1/lock").write_bytes(said)
    message = refused(tmp_path / "out")
    assert f"another run is writing to {tmp_path / 'out'} (process " in message
    assert message.isprintable()


@pytest.mark.fault(25)
def test_of_many_at_once_exactly_one_runs(tmp_path):
    script = tmp_path / "holder.py"
    script.write_text(HOLDER.replace("time.sleep(60)", "sys.stdin.read()"))
    (tmp_path / "out").mkdir()
    command = [sys.executable, str(script), str(tmp_path / "out"), "0", "1"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    runs = [subprocess.Popen(command, text=True, **pipes) for _ in range(6)]
    wait_for(lambda: sum(run.poll() is not None for run in runs) == 5)
    outcomes = [run.communicate() for run in runs]
    assert sum(out == "locked\n" for out, _ in outcomes) == 1
    assert sum("another run is writing" in err for _, err in outcomes) == 5
    assert files_in(tmp_path / "out") == set()


@pytest.mark.fault(25)
def test_one_after_the_other_in_quick_succession_never_meet(tmp_path):
    """Each removes the file that it had locked, while others are opening it."""
    script = tmp_path / "taker.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\nfrom magms_nnunet.errors import InputError\n"
        "from magms_nnunet.storage.output_lock import locked_output\n"
        "out, taken = Path(sys.argv[1]), 0\n"
        "while taken < 100:\n"
        "    try:\n"
        "        with locked_output(out):\n"
        "            with open(out / 'alone', 'x'):\n"
        "                pass\n"
        "            (out / 'alone').unlink()\n"
        "            taken += 1\n"
        "    except InputError:\n"
        "        time.sleep(0.001)\n"
    )
    (tmp_path / "out").mkdir()
    command = [sys.executable, str(script), str(tmp_path / "out")]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for run in runs:
        _, errors = run.communicate()
        assert run.returncode == 0, errors
    assert files_in(tmp_path / "out") == set()


@pytest.mark.fault(25)
def test_parts_of_one_split_share_a_folder_and_others_are_refused(holder, tmp_path):
    holder(0, 2)
    with locked_output(tmp_path / "out", 1, 2):
        assert "half.nii.gz" in files_in(tmp_path / "out")
    assert "half.nii.gz" in files_in(tmp_path / "out")
    for other in ((0, 2), (0, 1), (1, 3)):
        assert "another run is writing" in refused(tmp_path / "out", *other)


@pytest.mark.fault(25)
def test_what_another_split_left_goes(holder, tmp_path):
    for part in range(2):
        killed = holder(part, 2)
        killed.kill()
        killed.wait()
    with locked_output(tmp_path / "out", 2, 3):
        assert files_in(tmp_path / "out") == {".magms_2_of_3", "lock"}


@pytest.mark.fault(25)
def test_prediction_refuses_a_folder_that_is_written_to(magms_predict, tmp_path):
    images = give(tmp_path / "images", {"a": [T1C]})
    (tmp_path / "out").mkdir()
    with locked_output(tmp_path / "out"):
        code, (line,) = magms_predict(images, tmp_path / "out")
        assert code == 2
        assert f"another run is writing to {tmp_path / 'out'} (process {os.getpid()} on" in line
        assert files_in(tmp_path / "out") == {".magms_0_of_1", "lock"}


@pytest.mark.fault(25)
def test_lock_that_cannot_be_made(magms_predict, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.magms_0_of_1").symlink_to(tmp_path / "nowhere")
    code, (line,) = magms_predict(give(tmp_path / "images", {"a": [T1C]}), tmp_path / "out")
    assert code == 2
    assert f"{tmp_path / 'out/.magms_0_of_1'} is a symbolic link or a device, which is neither followed nor" in line


@pytest.mark.fault(25)
def test_evaluation_and_merging_refuse_a_folder_that_is_written_to(model, tmp_path, capfd):
    images = give(tmp_path / "images", {"a": range(4)})
    write_image(tmp_path / "labels" / f"a{ENDING}", np.ones(SHAPE, np.uint8))
    (tmp_path / "out").mkdir()
    evaluation = ("-o", tmp_path / "out", "-m", model, *QUIET)
    with locked_output(tmp_path / "out"):
        for flags in (("-i", images, "-l", tmp_path / "labels"), ("--merge", tmp_path / "labels")):
            assert magms_evaluate([*map(str, (*evaluation, *flags))]) == 2
            (line,) = capfd.readouterr().err.splitlines()
            assert f"another run is writing to {tmp_path / 'out'} (process {os.getpid()} on" in line
        assert files_in(tmp_path / "out") == {".magms_0_of_1", "lock"}


@pytest.mark.fault(25)
def test_training_refuses_a_folder_that_is_written_to(make_trainer):
    trainer = make_trainer()
    with (
        locked_output(Path(trainer.output_folder)),
        pytest.raises(InputError, match=f"another run is writing to {trainer.output_folder} "),
    ):
        trainer.on_train_start()
