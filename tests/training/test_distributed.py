"""Training by torchrun: each process on its own device, all stop together."""

import signal

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from magms_nnunet.cli.train import main
from magms_nnunet.errors import InputError
from magms_nnunet.nnunet.distributed import own_devices, place
from magms_nnunet.runtime.signals import Stopped
from magms_nnunet.trainers import MAGMSTrainer
from magms_nnunet.training import distributed
from magms_nnunet.training.distributed import TrainRequest, train
from magms_nnunet.training.stopping import Signals
from tests.trainers.conftest import batch, make_trainer  # noqa: F401 (a fixture)
from tests.training.two_processes import steps_until_stopped


@pytest.fixture
def alone(tmp_path):
    """A process group of this process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_trainer_of_a_process_group_trains_on_the_cpu(alone, make_trainer, monkeypatch):  # noqa: F811
    initialize = MAGMSTrainer.initialize

    def placed(trainer):
        place(trainer, torch.device("cpu"))
        initialize(trainer)

    monkeypatch.setattr(MAGMSTrainer, "initialize", placed)
    with own_devices():
        trainer = make_trainer()
    assert isinstance(trainer.network, DistributedDataParallel)
    assert not trainer.network.broadcast_buffers  # which a process without a case to validate would not take part in
    assert (trainer.device, trainer.grad_scaler) == (torch.device("cpu"), None)
    assert torch.isfinite(torch.as_tensor(trainer.train_step(batch(trainer))["loss"]))


def test_nnunets_own_wrapper_is_back_afterwards():
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    with own_devices():
        assert module.DDP is not DistributedDataParallel
    assert module.DDP is DistributedDataParallel


def test_all_processes_stop_after_the_same_step(tmp_path):
    mp.spawn(steps_until_stopped, (str(tmp_path),), nprocs=2)
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["3 SIGTERM 143"] * 2


def test_a_process_alone_stops_at_once_between_steps():
    signals = Signals()
    with pytest.raises(Stopped):
        signals._receive(signal.SIGTERM, None)


def request(**changes) -> TrainRequest:
    known = {"dataset": "999", "configuration": "tiny", "fold": "0", "trainer": "MAGMSTrainer", "plans": "MAGMSPlans"}
    return TrainRequest(**known | {"device": "cpu"} | changes)


def test_variables_of_torchrun_that_are_missing_are_named(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT is not: start .* torchrun"):
        train(request())


def test_a_process_without_a_gpu_is_named(monkeypatch):
    variables = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(InputError, match="process 1 of this machine has no GPU, as torch finds 1"):
        train(request(device="cuda"))


def test_a_batch_smaller_than_the_number_of_processes(make_trainer, monkeypatch):  # noqa: F811
    trainer = make_trainer()
    monkeypatch.setattr(distributed, "get_trainer_from_args", lambda *_: trainer)
    monkeypatch.setattr(trainer, "initialize", lambda: pytest.fail("the training has started"))
    monkeypatch.setattr(dist, "get_world_size", lambda: trainer.configuration_manager.batch_size + 1)
    with pytest.raises(InputError, match=r"MAGMSPlans gives tiny a batch of 2, and torchrun started 3 processes"):
        distributed._train_together(request(), 0, torch.device("cpu"))


def test_fold_that_is_no_number():
    with pytest.raises(InputError, match="fold 'x'"):
        train(request(fold="x"))


@pytest.mark.parametrize("flags", [("--c", "--val"), ("--val_best", "--disable_checkpointing"), ("-device", "tpu")])
def test_flags_that_exclude_each_other(flags):
    with pytest.raises(SystemExit) as exit:
        main(["999", "tiny", "0", *flags])
    assert exit.value.code == 2


def test_weights_to_start_from_and_a_training_to_continue(capsys):
    with pytest.raises(SystemExit):
        main(["999", "tiny", "0", "--c", "-pretrained_weights", "x"])
    assert "leave it out with --c" in capsys.readouterr().err
