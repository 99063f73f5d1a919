import io
import re
import sys
from datetime import datetime, timedelta

import pytest

from magms_nnunet.training import progress as module
from magms_nnunet.training.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A list of one number, the time in seconds."""
    now = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return now


def test_the_end_is_estimated_from_the_mean_of_this_runs_epochs(clock):
    progress = Progress(shows_bar=False)
    for seconds, left in ((100, 4), (200, 3)):
        progress.start_epoch(7, 12, 250)
        clock[0] += seconds
        said = progress.end_epoch(left)
    assert said.startswith("3 epochs left, expected to end on ")
    end = datetime.strptime(re.search(r"on (.+)", said)[1], "%Y-%m-%d at %H:%M")
    assert abs(end - datetime.now() - timedelta(seconds=450)) < timedelta(seconds=61)
    assert progress.end_epoch(0) is None


@pytest.mark.parametrize(("shows_bar", "terminal", "bars"), [(True, True, 1), (True, False, 0), (False, True, 0)])
def test_a_bar_is_drawn_on_a_terminal_by_one_process(shows_bar, terminal, bars, monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", stream)
    progress = Progress(shows_bar)
    progress.start_epoch(3, 5, 2)
    progress.step(0.25)
    progress.step(0.125)
    progress.close()
    progress.close()
    assert ("epoch 3 of 5" in stream.getvalue()) == bool(bars)
