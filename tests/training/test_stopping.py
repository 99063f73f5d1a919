"""A training that is told to stop, without a training: nnU-Net's loop is a stand-in that sends itself the signal."""

import multiprocessing
import os
import signal
import time

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from magms_nnunet.training import stopping
from magms_nnunet.training.stopping import Signals, end_augmentation
from tests.trainers.conftest import batch, make_trainer  # noqa: F401 (a fixture)

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(autouse=True)
def _signals_are_not_ignored():
    """As they are where the tests run in the background."""
    former = {number: signal.signal(number, signal.SIG_DFL) for number in CODES}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", CODES, ids=str)
def test_a_signal_waits_for_the_end_of_a_step(number):
    signals, done = Signals(), []

    def train():
        with signals.end(done.append, ""):
            with signals.deferred():
                os.kill(os.getpid(), number)
                done.append("step")
            done.append("next step")

    with pytest.raises(SystemExit) as ended:
        train()
    assert done == ["step", number.name]
    assert ended.value.code == CODES[number]


def test_a_signal_does_not_wait_between_steps():
    signals, done = Signals(), []

    def train():
        with signals.end(done.append, ""):
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("next step")

    with pytest.raises(SystemExit):
        train()
    assert done == ["SIGTERM"]


def test_a_second_signal_does_not_disturb_tidying_up():
    signals, done = Signals(), []

    def tidy_up(name):
        os.kill(os.getpid(), signal.SIGINT)
        done.append(name)

    with pytest.raises(SystemExit), signals.end(tidy_up, ""):
        os.kill(os.getpid(), signal.SIGTERM)
    assert done == ["SIGTERM"]


class Augmenter:
    """Of which one process does not end when it is told to."""

    def __init__(self):
        self.process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
        self.process.start()

    def _finish(self, timeout):
        self.process.join(timeout)


@pytest.mark.process
def test_a_process_that_augments_and_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(stopping, "_AUGMENTING_SECONDS", 0.2)
    augmenter = Augmenter()
    end_augmentation((augmenter, object()), [augmenter.process])
    augmenter.process.join(5)
    assert augmenter.process.exitcode == -signal.SIGKILL


@pytest.fixture
def stopped_trainer(make_trainer, monkeypatch):  # noqa: F811
    """stopped_trainer(): a trainer that was told to stop in a step of its epoch 2."""

    def train(self):
        self.dataloader_train = self.dataloader_val = object()
        self.current_epoch = 2
        self.logger.log("train_losses", 0.5, 0)
        step = self.optimizer.step

        def step_and_signal():
            os.kill(os.getpid(), signal.SIGTERM)
            step()

        monkeypatch.setattr(self.optimizer, "step", step_and_signal)
        self.train_step(batch(self))
        pytest.fail("the training goes on")

    monkeypatch.setattr(nnUNetTrainer, "run_training", train)

    def run():
        trainer = make_trainer()
        before = {name: weight.clone() for name, weight in trainer.network.state_dict().items()}
        with pytest.raises(SystemExit) as ended:
            trainer.run_training()
        assert ended.value.code == 143
        return trainer, before

    return run


def test_a_stopped_training_keeps_the_step_and_says_how_to_go_on(stopped_trainer, make_trainer, capfd):  # noqa: F811
    trainer, before = stopped_trainer()
    path = f"{trainer.output_folder}/checkpoint_latest.pth"
    kept = torch.load(path, weights_only=False)
    assert kept["current_epoch"] == 2  # it is done again
    weights = kept["network_weights"]
    assert all(torch.equal(weights[name], weight) for name, weight in trainer.network.state_dict().items())
    assert not all(torch.equal(weights[name], weight) for name, weight in before.items())
    said = capfd.readouterr().out.splitlines()[-1]
    assert said.endswith("magms_nnunet: stopped by SIGTERM in epoch 2: the same command with --c continues")
    continued = make_trainer()
    continued.load_checkpoint(path)
    assert continued.current_epoch == 2


def test_a_checkpoint_that_cannot_be_written_does_not_keep_the_training_from_its_end(
    stopped_trainer, monkeypatch, capfd
):
    def fail(self, filename):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nnUNetTrainer, "save_checkpoint", fail)
    stopped_trainer()
    said = capfd.readouterr().out.splitlines()[-1]
    assert "continues from an earlier checkpoint, as checkpoint_latest.pth cannot be written" in said


def test_a_validation_that_is_stopped_says_how_to_repeat_it(make_trainer, monkeypatch, capfd):  # noqa: F811
    monkeypatch.setattr(
        nnUNetTrainer, "perform_actual_validation", lambda self, npz: os.kill(os.getpid(), signal.SIGINT)
    )
    with pytest.raises(SystemExit) as ended:
        make_trainer().perform_actual_validation()
    assert ended.value.code == 130
    said = capfd.readouterr().out.splitlines()[-1]
    assert said.endswith("stopped by SIGINT in the validation: the same command with --val repeats it")
