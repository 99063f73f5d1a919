"""The trained model of the integration tests, and a table of the faults at the end of a run of this whole folder."""

from collections import defaultdict
from pathlib import Path

import pytest

from tests.faults.reliability import FAULTS
from tests.faults.small_disk import mount  # noqa: F401 (a fixture)
from tests.faults.spoiled_image import failure, images, prediction  # noqa: F401 (fixtures)
from tests.faults.tiny import magms_predict, model  # noqa: F401 (fixtures)
from tests.integration.conftest import chain, predict, stock_model, workspace  # noqa: F401 (fixtures)
from tests.integration.test_bad_input import model_copy, refusal, refusal_of_model  # noqa: F401 (fixtures)
from tests.trainers.conftest import make_trainer  # noqa: F401 (a fixture)

FOLDER = Path(__file__).parent
WORST_FIRST = ("failed", "not run", "skipped", "passed")


def rows_of(item: pytest.Item) -> list[int]:
    """Return the rows of the faults that a test injects: those of its marks ``@pytest.mark.fault(4, 7)``."""
    return [row for mark in item.iter_markers("fault") for row in mark.args]


class FaultTable:
    """Collects what happened to each row's tests."""

    def __init__(self):
        self.outcomes: dict[int, list[str]] = defaultdict(list)
        self.seconds: dict[int, float] = defaultdict(float)
        self.rows: dict[str, list[int]] = {}

    def pytest_deselected(self, items):
        for item in items:
            for row in rows_of(item):
                self.outcomes[row].append("not run")

    def pytest_collection_finish(self, session):
        self.rows = {item.nodeid: rows_of(item) for item in session.items}

    def pytest_runtest_logreport(self, report):
        for row in self.rows.get(report.nodeid, ()):
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
        if terminalreporter.config.pluginmanager.hasplugin("dsession"):
            return  # the tests were collected in other processes
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
