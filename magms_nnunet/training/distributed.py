"""Trains a fold with the processes that torchrun has started, on one machine or several; alone, as nnU-Net does."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint, run_training
from torch.backends import cudnn

from magms_nnunet import autoload
from magms_nnunet.errors import InputError
from magms_nnunet.nnunet.distributed import own_devices, place
from magms_nnunet.runtime.cores import limit_threads

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class PartnerLostError(Exception):
    """Another process of the training has ended, so that the training cannot continue."""


@dataclass(frozen=True)
class TrainRequest:
    """The arguments of ``nnUNetv2_train``, with their meanings."""

    dataset: str
    configuration: str
    fold: str
    trainer: str
    plans: str
    device: str
    pretrained_weights: str | None = None
    continue_training: bool = False
    only_validation: bool = False
    validate_best: bool = False
    save_probabilities: bool = False
    disable_checkpointing: bool = False


def train(request: TrainRequest) -> None:
    """Train, then predict the validation cases.

    Raises:
        InputError: torchrun's variables are incomplete, this process has no GPU of its own, the plans' batch is smaller
            than the number of processes, or the fold is no number.
    """
    if request.fold != "all" and not request.fold.isdecimal():
        raise InputError(f"fold {request.fold!r}: give a number or all")
    autoload.install()  # where .pth files are not read
    fold = request.fold if request.fold == "all" else int(request.fold)
    if "WORLD_SIZE" not in os.environ:
        device = torch.device(request.device)
        limit_threads() if device.type == "cpu" else torch.set_num_threads(1)
        run_training(
            request.dataset,
            request.configuration,
            fold,
            request.trainer,
            request.plans,
            request.pretrained_weights,
            1,
            request.save_probabilities,
            request.continue_training,
            request.only_validation,
            request.disable_checkpointing,
            request.validate_best,
            device,
        )
        return
    with _process_group(request.device) as device, own_devices(), _lost_partners_named():
        _train_together(request, fold, device)


def _train_together(request: TrainRequest, fold: int | str, device: torch.device) -> None:
    """Train as nnU-Net's ``run_ddp`` does, on the device of this process."""
    arguments = (request.dataset, request.configuration, fold, request.trainer, request.plans)
    trainer = get_trainer_from_args(*arguments, request.continue_training, device)
    _check_batch_size(trainer.configuration_manager.batch_size, request)
    place(trainer, device)
    trainer.disable_checkpointing = request.disable_checkpointing
    maybe_load_checkpoint(trainer, request.continue_training, request.only_validation, request.pretrained_weights)
    cudnn.benchmark = device.type == "cuda"
    if not request.only_validation:
        trainer.run_training()
    if request.validate_best:
        trainer.load_checkpoint(str(Path(trainer.output_folder, "checkpoint_best.pth")))
    trainer.perform_actual_validation(request.save_probabilities)


def _check_batch_size(batch_size: int, request: TrainRequest) -> None:
    """Raise InputError where some processes would get no sample of a batch."""
    if batch_size < (processes := dist.get_world_size()):
        raise InputError(
            f"{request.plans} gives {request.configuration} a batch of {batch_size}, and torchrun started {processes} "
            f"processes, each of which needs a sample: start no more than {batch_size} in all, or raise batch_size in "
            "the plans"
        )


@contextmanager
def _lost_partners_named() -> Iterator[None]:
    """Turn the errors of a connection to an ended process into PartnerLostError."""
    rank, processes = dist.get_rank(), dist.get_world_size()
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):  # gloo's are bare RuntimeErrors
            raise
        reason = re.sub(r"^\[\S+\] ", "", str(error).splitlines()[0]).partition(". ")[0]  # no line of its source
        raise PartnerLostError(
            f"process {rank} of {processes} has lost another one, whose machine or process has ended ({reason}): start "
            "all of them again with --c"
        ) from error


@contextmanager
def _process_group(kind: str) -> Iterator[torch.device]:
    """Join the other processes, and yield the device of this one."""
    if missing := [name for name in _VARIABLES if not os.environ.get(name)]:
        raise InputError(f"WORLD_SIZE is set and {', '.join(missing)} is not: start the command with torchrun")
    local = int(os.environ["LOCAL_RANK"])
    if kind == "cuda":
        if local >= torch.cuda.device_count():
            raise InputError(
                f"-device cuda: process {local} of this machine has no GPU, as torch finds "
                f"{torch.cuda.device_count()}: start no more with --nproc-per-node, or use -device cpu"
            )
        torch.cuda.set_device(local)
        torch.set_num_threads(1)
    else:
        limit_threads()
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    finally:
        dist.destroy_process_group()
