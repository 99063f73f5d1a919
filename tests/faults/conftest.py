"""The trained model of the integration tests, and a table of the faults at the end of a run of this whole folder."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.faults.reliability import FAULTS
from tests.integration.conftest import chain, predict, stock_model, workspace  # noqa: F401 (fixtures)
from tests.integration.test_bad_input import model_copy, refusal, refusal_of_model  # noqa: F401 (fixtures)

FOLDER = Path(__file__).parent
ROW = re.compile(r"/test_\w+\.py::test_row(\d\d)_")
WORST_FIRST = ("failed", "not run", "skipped", "passed")


def row_of(nodeid: str) -> int | None:
    """Row of the fault that a test injects, which its name says: ``test_row07_...``."""
    found = ROW.search(nodeid) if nodeid.startswith("tests/faults/") else None
    return int(found[1]) if found else None


class FaultTable:
    """Collects what happened to each row's tests."""

    def __init__(self):
        self.outcomes: dict[int, list[str]] = defaultdict(list)
        self.seconds: dict[int, float] = defaultdict(float)

    def pytest_deselected(self, items):
        for item in items:
            if (row := row_of(item.nodeid)) is not None:
                self.outcomes[row].append("not run")

    def pytest_runtest_logreport(self, report):
        row = row_of(report.nodeid)
        if row is None:
            return
        self.seconds[row] += report.duration if report.when == "call" else 0
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[row].append(report.outcome)

    def lines(self) -> list[str]:
        """One line per row, in order."""
        lines = []
        for row, fault in FAULTS.items():
            outcomes = self.outcomes[row]
            worst = next((outcome for outcome in WORST_FIRST if outcome in outcomes), "NO TEST")
            counted = ", ".join(f"{outcomes.count(o)} {o}" for o in reversed(WORST_FIRST) if o in outcomes)
            lines.append(f"{row:3}  {worst:8}{self.seconds[row]:8.1f} s  {fault:45.45}  {counted}".rstrip())
        return lines

    def pytest_terminal_summary(self, terminalreporter):
        whole_folder = [Path(arg) for arg in terminalreporter.config.args]
        if not any(
            (terminalreporter.config.invocation_params.dir / arg) in (FOLDER, *FOLDER.parents) for arg in whole_folder
        ):
            return  # a single file would leave most rows without a test
        terminalreporter.section("faults")
        terminalreporter.write_line(f"row  {'result':8}{'time':>8}    fault")
        for line in self.lines():
            terminalreporter.write_line(line)


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    config.pluginmanager.register(FaultTable(), "fault table")
