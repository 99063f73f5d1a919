import numpy as np
import pytest

from magms_nnunet.evaluation.training_cost import training_cost


def log(model, fold, name, *seconds):
    folder = model / f"fold_{fold}"
    folder.mkdir(exist_ok=True)
    lines = [f"2025-01-02 03:04:05.678901: Epoch time: {np.round(time, decimals=2)} s " for time in seconds]
    (folder / name).write_text("\n".join(["Epoch 0 ", "Current learning rate: 0.01 ", *lines, "train_loss -0.5 "]))


def test_by_hand(tmp_path):
    log(tmp_path, 0, "training_log_2025_1_2_03_04_05.txt", np.float64(10.0), 20.5)
    assert training_cost(tmp_path, [0], 4) == {
        "epochs": 2,
        "seconds": 30.5,
        "seconds_per_epoch": 15.25,
        "modalities": 4,
    }


def test_a_continued_training_and_every_fold_count(tmp_path):
    log(tmp_path, 0, "training_log_2025_1_2_03_04_05.txt", 10, 11)
    log(tmp_path, 0, "training_log_2025_1_3_03_04_05.txt", 12)  # epoch 1 again, after a crash
    log(tmp_path, "all", "training_log_2025_1_4_03_04_05.txt", 7)
    assert training_cost(tmp_path, ["0"], 4)["seconds"] == 33
    both = training_cost(tmp_path, [0, "all"], 3)
    assert (both["epochs"], both["seconds"]) == (4, 40)
    assert both["seconds_per_epoch"] == pytest.approx(10)


def test_other_files_are_no_logs(tmp_path):
    log(tmp_path, 0, "notes.txt", 5)
    log(tmp_path, 1, "training_log_2025_1_2_03_04_05.txt", 5)
    assert training_cost(tmp_path, [0], 4) is None


def test_without_a_finished_epoch_nothing_is_known(tmp_path):
    assert training_cost(tmp_path, [0], 4) is None
    log(tmp_path, 0, "training_log_2025_1_2_03_04_05.txt")
    assert training_cost(tmp_path, [0], 4) is None


def test_bytes_that_are_no_text_do_not_matter(tmp_path):
    log(tmp_path, 0, "training_log_2025_1_2_03_04_05.txt", 5)
    path = tmp_path / "fold_0/training_log_2025_1_2_03_04_05.txt"
    path.write_bytes(b"\xff\x00" + path.read_bytes())
    assert training_cost(tmp_path, [0], 4)["seconds"] == 5
