"""nnU-Net's ``-num_gpus 2``, as far as it goes without a GPU: two processes, gloo, half of the batch each."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch.nn.parallel import DistributedDataParallel

from magms_nnunet.losses.modality_agnostic import ModalityAgnosticLoss
from magms_nnunet.networks.from_plans import build_multi_encoder_unet
from tests.networks.conftest import configuration


def network_loss_and_data(ddp: bool, students_per_step: int | None):
    torch.manual_seed(0)
    network = build_multi_encoder_unet(configuration(3), 3, 3, True)
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": ddp}
    dc = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
    weights = [1.0, 1e-6]  # nnU-Net's own in DDP: no scale without gradient
    dc = DeepSupervisionWrapper(dc, weights)
    loss = ModalityAgnosticLoss(dc, network.decoder, students_per_step=students_per_step)
    x = torch.randn(2, 3, 16, 16, 16)
    y = [torch.randint(0, 3, (2, 1, s, s, s)).float() for s in (16, 8)]
    return network, loss, x, y


def train_half(rank: int, port: int, path: str, students_per_step: int | None) -> None:
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    network, loss, x, y = network_loss_and_data(True, students_per_step)
    network = DistributedDataParallel(network)
    for _ in range(2):  # the second pass is the one that complains about parameters without gradient
        network.zero_grad()
        torch.manual_seed(1 + rank)  # which nnU-Net leaves to chance
        loss(network(x[rank : rank + 1]), [scale[rank : rank + 1] for scale in y]).backward()
    torch.save([p.grad for p in network.module.parameters()], f"{path}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("students_per_step", [None, 1])
def test_two_processes_agree_with_one_on_the_whole_batch(tmp_path, students_per_step):
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    mp.spawn(train_half, (port, str(tmp_path), students_per_step), nprocs=2)
    network, loss, x, y = network_loss_and_data(False, students_per_step)
    torch.manual_seed(1)  # what the first process draws, the other one must draw
    loss(network(x), y).backward()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for p, a, b in zip(network.parameters(), first, second, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, p.grad, rtol=1e-3, atol=1e-5)
    assert max(float(p.grad.abs().max()) for p in network.parameters()) == pytest.approx(
        max(float(a.abs().max()) for a in first), rel=1e-3
    )
