"""Runs a command as a user would; its output is logged, and one line on the terminal shows its progress."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from magms_nnunet.storage.files import open_own


class CommandError(Exception):
    """A command ended with an error; the message has the end of its output and the path of its log."""


def run_command(
    command: Sequence[str],
    environment: dict[str, str],
    log: Path,
    status_from: Callable[[str], str | None] = lambda line: None,
) -> None:
    """Run one of the commands that are installed beside this Python, and wait for it.

    Args:
        command: name and arguments.
        environment: variables of the command besides ours.
        log: file to which its output is appended.
        status_from: gets each line of the output and returns the status to show; None: the last one stays.

    Raises:
        CommandError: the command ended with an error.
    """
    beside_python = (str(Path(sys.executable).parent), sysconfig.get_path("scripts"), os.environ.get("PATH", ""))
    executable = shutil.which(command[0], path=os.pathsep.join(beside_python))
    if executable is None:
        raise CommandError(f"there is no command {command[0]} beside {sys.executable} or on PATH: is it installed?")
    start, status, output, seen = time.perf_counter(), "", "", 0
    terminal = sys.stdout.isatty()
    # A file, because a pipe stays open as long as any worker that outlives its killed parent.
    with open(log, "a", opener=open_own) as sink, log.open(encoding="utf-8", errors="replace") as source:
        source.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [executable, *command[1:]],
            env=os.environ | environment | {"PYTHONUNBUFFERED": "1"},
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        try:
            running = True
            while running:
                running = process.poll() is None
                output += source.read()
                complete = output.rfind("\n") + 1
                for line in output[seen:complete].splitlines():
                    news = status_from(line)
                    status = f"{news}, " if news else status
                    if news and not terminal:
                        print(f"  {status}{time.perf_counter() - start:.0f} s", flush=True)
                seen = complete
                if terminal:
                    print(f"\r  {status}{time.perf_counter() - start:.0f} s ", end="", flush=True)
                time.sleep(0.2 if running else 0)
        except BaseException:
            process.terminate()
            raise
        finally:
            if terminal:
                print(f"\r{'':60}\r", end="", flush=True)
    if process.returncode:
        end = "\n".join(output.splitlines()[-15:])
        raise CommandError(f"{command[0]} ended with exit code {process.returncode}:\n{end}\nThe whole log: {log}")


class TrainingStatus:
    """Epoch and loss of a training, from nnU-Net's log."""

    def __init__(self, epochs: int):
        self.epochs, self.epoch, self.loss = epochs, 0, ""

    def __call__(self, line: str) -> str | None:
        """Return the status after this line; after each epoch ``epoch 3/16, loss -0.1234``."""
        if match := re.search(r"Epoch (\d+)\s*$", line):
            self.epoch = int(match[1]) + 1
        elif match := re.search(r"train_loss (-?[\d.]+|nan)", line):
            self.loss = match[1]
        elif "Epoch time" in line:
            return f"epoch {self.epoch}/{self.epochs}, loss {self.loss}"
        return None
