"""Standard streams that are closed, broken or full: what is said to a person is lost, and no result."""

import os
import subprocess
import sys

import pytest

from tests.faults.tiny import T1C, give
from tests.integration.workspace import BIN, ENDING, files_in

# What a command does: it says something before, beside and after its work, itself, in tqdm's bar and in a process.
SAYS = """
import sys
from pathlib import Path
from tqdm import tqdm
from magms_nnunet.cli import exits
from magms_nnunet.storage.files import write_then_rename
from magms_nnunet.inference.processes import workers

def work():
    exits.starting("command", True)
    for _ in tqdm(range(200), mininterval=0):
        print("x" * 1000, flush=True)
    with workers(1) as executor:
        executor.submit(print, 100_000 * "y", flush=True).result()
    write_then_rename(sys.argv[1], lambda name: Path(name).write_text("result"))
    exits.say("done")
    return exits.failures("command", {}, debug=False)

if __name__ == "__main__":
    sys.exit(exits.run("command", work, False))
"""


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "streams",
    ["2>&-", ">&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/full", "2>/dev/full >/dev/full", "2>&1 | head -1", "| true"],
)
def test_streams_that_cannot_be_written_cost_no_result(streams, tmp_path):
    (tmp_path / "command.py").write_text(SAYS)
    script = f'set -o pipefail; "$0" command.py result.txt {streams}'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Error" not in done.stderr
    assert (tmp_path / "result.txt").read_text() == "result"


@pytest.mark.fault(26)
def test_name_that_the_terminal_cannot_show_is_escaped():
    script = (
        "from magms_nnunet.cli import exits\nexits.run('a', lambda: exits.say('患者 T1c') or print('\\xb5'), False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert done.stdout.splitlines() == [r"\u60a3\u8005 T1c", r"\xb5"], done.stderr


@pytest.mark.fault(18)
@pytest.mark.parametrize("streams", ["2>&-", "2>&1 >/dev/full | head -c 1"])
def test_prediction_whose_progress_nobody_reads(streams, model, tmp_path):
    give(tmp_path / "images", {"a": [T1C]})
    command = f"-i images -o out -m '{model}' -f 0 -device cpu --disable_tta -npp 0 -nps 0"
    script = f'set -o pipefail; "$0" {command} {streams}'
    done = subprocess.run(["bash", "-c", script, BIN / "magms_predict"], cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {f"a{ENDING}", "a.json"} <= files_in(tmp_path / "out")
