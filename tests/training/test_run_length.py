import pytest

from magms_nnunet.training.run_length import run_length_from_environment


def test_nothing_set_changes_nothing(monkeypatch):
    monkeypatch.delenv("MAGMS_NUM_EPOCHS", raising=False)
    monkeypatch.delenv("MAGMS_ITERATIONS_PER_EPOCH", raising=False)
    assert run_length_from_environment() == {}


def test_validation_and_checkpoints_shrink_with_the_run(monkeypatch):
    monkeypatch.setenv("MAGMS_NUM_EPOCHS", "100")
    monkeypatch.setenv("MAGMS_ITERATIONS_PER_EPOCH", "25")
    assert run_length_from_environment() == {
        "num_epochs": 100,
        "save_every": 5,
        "num_iterations_per_epoch": 25,
        "num_val_iterations_per_epoch": 5,
    }


def test_nnunets_own_length_keeps_nnunets_intervals(monkeypatch):
    monkeypatch.setenv("MAGMS_NUM_EPOCHS", "1000")
    monkeypatch.setenv("MAGMS_ITERATIONS_PER_EPOCH", "250")
    changes = run_length_from_environment()
    assert (changes["save_every"], changes["num_val_iterations_per_epoch"]) == (50, 50)


@pytest.mark.parametrize("text", ["0", "-1", "ten", "1.5"])
def test_nonsense_is_an_error(monkeypatch, text):
    monkeypatch.setenv("MAGMS_NUM_EPOCHS", text)
    with pytest.raises(ValueError, match="MAGMS_NUM_EPOCHS must be a whole number above 0"):
        run_length_from_environment()
