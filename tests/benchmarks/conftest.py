"""Benchmarks at the tiniest size: what is tested is the figures' meaning, not their size."""

import importlib
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

TINY = ("--patch", "16", "--width", "4", "--blocks", "2", "--repeats", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def memory_is_given_back(monkeypatch):
    """Keeping it cannot be undone."""
    monkeypatch.setattr("harness.retain_freed_memory", lambda: None)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(benchmark, *flags) -> what ``--json`` holds of it, at the tiniest size."""
    for name in ("raw", "preprocessed", "results", "compile"):  # the benchmarks set these: put them back afterwards
        monkeypatch.setenv(f"nnUNet_{name}", "")

    def run(benchmark: str, *flags: str) -> dict:
        file = tmp_path / f"{benchmark}.json"
        importlib.import_module(benchmark).main([*TINY, *flags, "--json", str(file)])
        return json.loads(file.read_text())

    return run


def rows_of(result: dict, what: str) -> dict[str, dict]:
    """System -> row, of one run."""
    (only,) = result["runs"]
    return {row["system"]: row for row in only["rows"] if row["what"] == what}
