"""Whatever a file holds, it is used or refused in a line of our own: no traceback, no hang, no flood of memory."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="bounds memory as Linux does")


def lines(target: str, home: Path, count: int) -> Iterator[dict]:
    """What the worker says about the seeds 0 to ``count`` - 1; where one is its end, it starts again behind it."""
    first = 0
    while first < count:
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.worker",
            target,
            str(home / str(first)),
            str(first),
            str(count - first),
        ]
        (home / str(first)).mkdir()
        with open(home / "errors", "w+") as errors:
            worker = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=3000)
            errors.seek(0)
            said = errors.read()[-1000:]
        answers = [json.loads(line) for line in worker.stdout.splitlines()]
        yield from answers
        if worker.returncode == 0:
            return
        last = max((answer["seed"] for answer in answers if "seed" in answer), default=None)
        assert last is not None, said
        yield {"defect": f"the process ended with {worker.returncode}: {said}"}
        first = last + 1


def check(target: str, home: Path, count: int) -> None:
    defects, seed, summary = [], None, {}
    for line in lines(target, home, count):
        seed = line.get("seed", seed)
        if "defect" in line:
            defects.append(f"seed {seed}: {line['defect']}")
        summary |= {key: line[key] for key in ("accepted", "peak_bytes") if key in line}
    assert not defects, f"{len(defects)} of {count}:\n" + "\n".join(defects[:20])
    assert summary["accepted"] < count  # some of it is damage
    print(
        f"{target}: {count} damaged files, {summary['accepted']} of them usable, {summary['peak_bytes'] / 1e9:.2f} GB"
    )


@pytest.mark.parametrize(("target", "count"), [("nifti", 300), ("model", 60)])
def test_damaged_files(target, count, tmp_path):
    check(target, tmp_path, count)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "count"), [("nifti", 10_000), ("model", 2_000)])
def test_very_many_damaged_files(target, count, tmp_path):
    check(target, tmp_path, count)
