"""nnU-Net's ``-num_gpus 2``, as far as it goes without a GPU: two processes, gloo, half of the batch each."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch.nn.parallel import DistributedDataParallel

from magms_nnunet.losses.any_subset import AnySubsetLoss
from magms_nnunet.losses.decision_memory import DecisionMemory
from magms_nnunet.losses.modality_agnostic import ModalityAgnosticLoss
from magms_nnunet.networks.availability import mark_absent
from magms_nnunet.networks.decision_offset import DecisionOffset
from magms_nnunet.networks.from_plans import build_any_subset_unet, build_multi_encoder_unet
from tests.networks.conftest import configuration
from tests.training.two_processes import end_together

ANY_SUBSET = "AnySubsetTrainer's"
SYSTEMS = (None, 1, ANY_SUBSET)  # of network_loss_and_data
GAPS = {  # the modalities that two samples of either process have
    "one sample of the second process lacks modality 1": [[[0, 1, 1], [0, 1, 1]], [[0, 0, 1], [0, 1, 1]]],
    "no sample of the second process has modality 1": [[[0, 1, 1], [0, 1, 1]], [[0, 0, 1], [0, 0, 1]]],
}


def network_loss_and_data(ddp: bool, system: int | str | None):
    """Of AnySubsetTrainer, or of MAGMSTrainer with so many students a step."""
    torch.manual_seed(0)
    build = build_any_subset_unet if system == ANY_SUBSET else build_multi_encoder_unet
    network = build(configuration(3), 3, 3, True)
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": ddp}
    dc = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
    weights = [1.0, 1e-6]  # nnU-Net's own in DDP: no scale without gradient
    dc = DeepSupervisionWrapper(dc, weights)
    x = torch.randn(2, 3, 16, 16, 16)
    if system == ANY_SUBSET:
        loss = AnySubsetLoss(dc, DecisionMemory(network.decision_offset))
        x = mark_absent(x, torch.tensor([[True, True, True], [True, False, False]]))  # one complete, as half of them
    else:
        loss = ModalityAgnosticLoss(dc, network.decoder, students_per_step=system)
    y = [torch.randint(0, 3, (2, 1, s, s, s)).float() for s in (16, 8)]
    return network, loss, x, y


def train_half(rank: int, path: Path, system: int | str | None) -> None:
    network, loss, x, y = network_loss_and_data(True, system)
    network = DistributedDataParallel(network)
    for _ in range(2):  # the second pass is the one that complains about parameters without gradient
        network.zero_grad()
        torch.manual_seed(1 + rank)  # which nnU-Net leaves to chance
        loss(network(x[rank : rank + 1]), [scale[rank : rank + 1] for scale in y]).backward()
    torch.save({name: p.grad for name, p in network.module.named_parameters()}, path / f"{system}_{rank}.pt")


def train_with_gaps(rank: int, path: Path, students: int | None, gaps: str) -> None:
    available = torch.tensor(GAPS[gaps], dtype=torch.bool)
    network, loss, x, y = network_loss_and_data(True, students)
    network = DistributedDataParallel(network)
    for _ in range(3):
        network.zero_grad()
        output = network(x.roll(rank, 0), available[rank])
        loss(output, [scale.roll(rank, 0) for scale in y]).backward()
    torch.save({name: p.grad for name, p in network.module.named_parameters()}, path / f"{gaps} {students}_{rank}.pt")


def fit_offset(rank: int, path: Path) -> None:
    """The second process sees a structure that is 20 % probable, the first nothing."""
    torch.manual_seed(rank)
    memory = DecisionMemory(DecisionOffset(2, 1), regions=True)
    memory.decision_offset.regions.fill_(True)
    inside, both = torch.tensor([1.0] * 4 + [0.0] * 4), torch.ones(4, 2, dtype=torch.bool)
    for _ in range(30):
        logits = torch.where(inside.bool(), -1.4, -5.0) + 0.1 * torch.randn(4, 1, 8)
        memory.observe(logits - 3 * (1 - rank), both, (inside * rank).expand(4, 1, 8))
    memory.fit()
    logits = torch.where(inside.bool(), -1.4, -5.0)[None, None]
    torch.save(memory.decision_offset(logits, both[:1]), path / f"offset_{rank}.pt")


def train(rank: int, path: Path) -> None:
    """One of two processes: everything that is compared below."""
    dist.init_process_group("gloo", init_method=f"file://{path}/store", rank=rank, world_size=2)
    for system in SYSTEMS:
        train_half(rank, path, system)
    for gaps in GAPS:
        for students in (None, 1):
            train_with_gaps(rank, path, students, gaps)
    fit_offset(rank, path)
    end_together(rank, path)


@pytest.fixture(scope="module")
def gradients(tmp_path_factory) -> Callable[[str], tuple]:
    """gradients(training): parameter -> gradient, of the first process and of the second; of "offset", logits."""
    path = tmp_path_factory.mktemp("ddp")
    mp.spawn(train, (path,), nprocs=2)
    return lambda training: tuple(torch.load(path / f"{training}_{rank}.pt") for rank in range(2))


@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("students", [None, 1])
def test_each_parameter_takes_part_in_both_processes_whatever_their_samples_lack(students, gaps, gradients):
    first, second = gradients(f"{gaps} {students}")
    assert all(gradient.isfinite().all() for gradient in first.values())  # and none is None
    assert all(torch.equal(gradient, second[name]) for name, gradient in first.items())
    of_encoders = [sum(g.abs().sum() for name, g in first.items() if f"encoders.{m}." in name) for m in range(3)]
    assert of_encoders[0] == 0
    assert of_encoders[2] > 0


def test_the_offset_is_fitted_to_the_samples_of_both_processes(gradients):
    first, second = gradients("offset")
    assert torch.equal(first, second)
    assert torch.equal(first[0, 0] > 0, torch.tensor([True] * 4 + [False] * 4))


@pytest.mark.parametrize("system", SYSTEMS)
def test_two_processes_agree_with_one_on_the_whole_batch(system, gradients):
    network, loss, x, y = network_loss_and_data(False, system)
    torch.manual_seed(1)  # what the first process draws, the other one must draw
    loss(network(x), y).backward()
    first, second = gradients(str(system))
    assert first.keys() == second.keys() == dict(network.named_parameters()).keys()
    trained = [(name, p) for name, p in network.named_parameters() if not name.startswith("decision_offset.")]
    for name, p in trained:
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], p.grad, rtol=1e-3, atol=1e-5, msg=name)
    assert max(float(p.grad.abs().max()) for _, p in trained) == pytest.approx(
        max(float(first[name].abs().max()) for name, _ in trained), rel=1e-3
    )
