from tests.faults.tiny import model  # noqa: F401 (a fixture)
