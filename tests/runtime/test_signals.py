"""The watchdog of a command ends the command's process, and no program that has called it."""

import subprocess
import sys
import threading

HOST = """
import os, signal, sys, time
from magms_nnunet.runtime import signals
from magms_nnunet.cli import exits

signal.signal(signal.SIGINT, signal.default_int_handler)
exits.exit_on_signal = lambda: signals.exit_on_signal(0.5)
code = exits.run("magms_predict", lambda: os.kill(os.getpid(), signal.SIGINT) or time.sleep(60), debug=False)
assert code == 130
time.sleep(1.5)
print("goes on")
"""
SLOW_END = """
import os, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from magms_nnunet.runtime import signals

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with signals.exit_on_signal(0.5):
        ThreadPoolExecutor(1).submit(time.sleep, 60)  # the interpreter waits for it at its end
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
except signals.Stopped:
    pass
"""


def run(tmp_path, code: str) -> subprocess.CompletedProcess:
    (tmp_path / "program.py").write_text(code)
    return subprocess.run(
        [sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, timeout=40, check=False
    )


def test_a_program_that_has_called_a_command_goes_on_after_ctrl_c(tmp_path):
    result = run(tmp_path, HOST)
    assert (result.returncode, result.stdout) == (0, "goes on\n"), result.stderr


def test_a_process_whose_own_end_takes_long_is_ended(tmp_path):
    assert run(tmp_path, SLOW_END).returncode == 130


def test_python_says_when_it_ends():
    assert threading._SHUTTING_DOWN is False
