import json
import sys
from pathlib import Path

import pytest

from magms_nnunet.demo.commands import CommandError, TrainingStatus, run_command

PYTHON = Path(sys.executable).name


def test_training_status_is_epoch_and_loss_after_each_epoch():
    status = TrainingStatus(epochs=5)
    lines = [
        "Epoch 3 ",
        "train_loss -0.4321 ",
        "train_loss all: DC -0.1, KL 0.0",
        "Epoch time: 3 s",
        "Epoch 4",
        "train_loss nan",
        "Epoch time: 3 s",
    ]
    shown = [status(f"2026-01-01 12:00:00: {line}") for line in lines]
    assert shown == [None, None, None, "epoch 4/5, loss -0.4321", None, None, "epoch 5/5, loss nan"]


def test_every_line_is_read_once_and_in_order(tmp_path, capsys):
    lines = []
    code = "import time\nfor i in range(3): print('line', end=' '); time.sleep(0.3); print(i)"
    run_command([PYTHON, "-c", code], {}, tmp_path / "log.txt", lambda line: lines.append(line) or f"saw {line}")
    assert lines == ["line 0", "line 1", "line 2"]
    assert [line.rpartition(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        "  saw line 0",
        "  saw line 1",
        "  saw line 2",
    ]


def test_a_command_that_fails_shows_the_end_of_its_own_output(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("of the command before\n")
    code = "for i in range(40): print('line', i)\nimport sys; sys.exit('torn')"
    with pytest.raises(CommandError) as caught:
        run_command([PYTHON, "-c", code], {}, log)
    message = str(caught.value)
    assert "exit code 1" in message
    assert "line 39\ntorn\n" in message
    assert "line 9\n" not in message
    assert str(log) in message
    assert log.read_text().startswith("of the command before\nline 0\n")
    with pytest.raises(CommandError) as caught:
        run_command([PYTHON, "-c", "raise SystemExit(3)"], {}, log)
    assert "torn" not in str(caught.value)


def test_a_command_gets_our_variables_before_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "elsewhere")
    monkeypatch.setenv("KEPT", "yes")
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    run_command([PYTHON, "-c", code], {"nnUNet_raw": "here"}, tmp_path / "log.txt")
    environment = json.loads((tmp_path / "log.txt").read_text())
    assert (environment["nnUNet_raw"], environment["KEPT"]) == ("here", "yes")


def test_an_interrupt_ends_the_command_too(tmp_path):
    def interrupt(line):
        raise KeyboardInterrupt

    code = f"import time; print('ready'); time.sleep(2); open({str(tmp_path / 'survived')!r}, 'w')"
    with pytest.raises(KeyboardInterrupt):
        run_command([PYTHON, "-c", code], {}, tmp_path / "log.txt", interrupt)
    code = "import time; time.sleep(2.5)"
    run_command([PYTHON, "-c", code], {}, tmp_path / "log.txt")
    assert not (tmp_path / "survived").exists()
