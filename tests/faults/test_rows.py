"""The document, the tests and the table are about the same faults."""

from tests.faults.reliability import FAULTS


def test_every_fault_has_a_row():
    assert list(FAULTS) == list(range(1, 29))
