import harness
import pytest

from tests.benchmarks.conftest import rows_of


@pytest.fixture
def result(run):
    return run("step")


def test_step_measures_every_variant_beside_nnunet(result):
    rows = rows_of(result, "training step")
    assert list(rows) == [harness.STOCK, *harness.VARIANTS]
    assert all(len(row["values"]) == 2 and min(row["values"]) > 0 for row in rows.values())
    assert rows[harness.STOCK]["ratio"] == 1
    operations = [rows[name]["operations_ratio"] for name in harness.VARIANTS]
    assert operations == sorted(operations, reverse=True)  # every variant saves something on the one before it
    assert 4 < operations[0] < 5  # four encoders of one channel, five decoders


def test_step_measures_what_prediction_costs(result):
    rows = rows_of(result, "forward pass")
    one, every = rows["MAG-MS, one modality"], rows["MAG-MS, all modalities"]
    assert one["target"] < 1 < every["target"]
    assert one["operations_ratio"] < 1 < every["operations_ratio"]
