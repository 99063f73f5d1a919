import harness
import step

from tests.benchmarks.conftest import rows_of


def test_step_measures_every_variant_beside_nnunet_and_what_prediction_costs(run):
    result = run("step")
    rows = rows_of(result, "training step")
    assert list(rows) == [harness.STOCK, *harness.VARIANTS]
    assert all(len(row["values"]) == 2 and min(row["values"]) > 0 for row in rows.values())
    assert rows[harness.STOCK]["ratio"] == 1
    operations = {name: row["operations"] for name, row in rows.items()}
    assert 4 < rows[harness.EXACT]["operations_ratio"] < 5  # four encoders of one channel, five decoders
    assert 0.9 < rows[harness.ANY_SUBSET]["operations_ratio"] < 1.3  # nnU-Net's network; the optimizer's products
    # decoder passes: 5, 3 and 2
    assert operations[harness.EXACT] - operations[harness.TWO] == 2 * (
        operations[harness.TWO] - operations[harness.ONE]
    )
    # recomputing adds the encoders' forward pass: their share of a step is below a half, a third of it forward
    assert 1 < operations[harness.LEAN] / operations[harness.EXACT] < 7 / 6

    for what in (step.TILE, step.BATCH):
        rows = rows_of(result, what)
        one, every = rows[step.ONE], rows[step.ALL]
        assert one["target"] < 1 < every["target"]
        assert one["operations_ratio"] < 1 < every["operations_ratio"]
        assert 0.8 < rows[step.ANY_ONE]["operations_ratio"] == rows[step.ANY_ALL]["operations_ratio"] < 1.01
    tile, batch = (rows_of(result, what)[harness.STOCK]["operations"] for what in (step.TILE, step.BATCH))
    assert batch == 2 * tile
