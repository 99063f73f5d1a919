import importlib
import json
import os
import sys
from pathlib import Path

import pytest


@pytest.fixture
def predict(monkeypatch):
    for name in ("raw", "preprocessed", "results"):  # the benchmark sets these: put them back afterwards
        monkeypatch.setenv(f"nnUNet_{name}", "")
    return importlib.import_module("predict")


@pytest.mark.slow
def test_predict_compares_whole_processes(predict, tmp_path, capsys):
    file = tmp_path / "predict.json"
    predict.main(["--edge", "16", "--width", "4", "--repeats", "1", "--json", str(file)])
    assert capsys.readouterr().out.count("\n|") == 5
    stock, *ours = json.loads(file.read_text())["rows"]
    assert stock["seconds_ratio"] == stock["cpu_seconds_ratio"] == 1
    assert [row["what"] for row in ours] == list(predict.TARGETS)
    for row in ours:
        assert row["seconds_ratio"] == row["seconds"][0] / stock["seconds"][0]
        assert row["cpu_seconds"][0] > 1  # importing torch takes more


def test_run_counts_the_time_of_all_processes(predict, monkeypatch):
    child = "sum(range(20_000_000))"
    code = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {child!r}]); time.sleep(0.5)"
    monkeypatch.setattr(predict, "BIN", Path("/"))
    before = os.times()
    seconds, cpu_seconds = predict.run([sys.executable, "-c", code])
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert cpu_seconds == pytest.approx(used, abs=0.05)
    assert cpu_seconds > 0.1
    assert seconds > 0.5


def test_a_command_that_fails_ends_the_benchmark_with_its_output(predict, monkeypatch):
    monkeypatch.setattr(predict, "BIN", Path("/"))
    with pytest.raises(SystemExit, match="no such plans"):
        predict.run([sys.executable, "-c", "raise SystemExit('no such plans')"])


def test_both_commands_take_as_many_threads_as_they_would_by_themselves(predict, monkeypatch):
    monkeypatch.setattr(predict, "BIN", Path("/"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    predict.run([sys.executable, "-c", "import os; assert 'OMP_NUM_THREADS' not in os.environ"])
