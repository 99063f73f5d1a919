import copy

import pytest
import torch
from torch import nn

from magms_nnunet.networks.conditional_norm import make_conditional
from magms_nnunet.training.muon import Muon, orthogonalised


class Network(nn.Module):
    """Hidden convolutions, a conditional norm, and an output layer with nnU-Net's name."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ConvTranspose2d(8, 4, 2))
        make_conditional(self.hidden, num_modalities=3)
        self.seg_layers = nn.ModuleList([nn.Conv2d(4, 2, 1)])

    def forward(self, x):
        return self.seg_layers[0](self.hidden(x))


def small_network() -> Network:
    torch.manual_seed(0)
    return Network()


@pytest.mark.parametrize("shape", [(8, 3), (3, 8), (5, 5)])
def test_singular_values_come_near_1(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_singular_vectors_stay():
    torch.manual_seed(0)
    matrix = torch.randn(4, 6)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    rotated = u.mT @ orthogonalised(matrix) @ v.mT
    torch.testing.assert_close(rotated, rotated.diagonal().diag(), atol=1e-4, rtol=0)


def test_a_matrix_of_zeros_stays_one():
    assert not orthogonalised(torch.zeros(3, 5)).any()


def test_matrices_together_are_as_each_alone():
    torch.manual_seed(0)
    matrices = torch.randn(3, 4, 6) * torch.tensor([1.0, 10, 0.1]).view(3, 1, 1)
    alone = torch.stack([orthogonalised(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonalised(matrices), alone)


def test_hidden_matrices_are_orthogonal_and_all_else_is_adams():
    network = small_network()
    optimizer = Muon(network, lr=0.1, weight_decay=0.5)
    orthogonal, others = (group["params"] for group in optimizer.param_groups)
    hidden = network.hidden[0].weight, network.hidden[1].modulation.weight, network.hidden[2].weight
    assert [id(p) for p in orthogonal] == [id(weight) for weight in hidden]
    assert len(orthogonal) + len(others) == len(list(network.parameters()))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    network(torch.randn(2, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    change = {name: before[name] - p.detach() for name, p in network.named_parameters()}
    first = change["hidden.0.weight"] - 0.1 * 0.5 * before["hidden.0.weight"]  # without the decay
    values = torch.linalg.svdvals(first.flatten(1)) / (0.1 * 0.2 * 27**0.5)
    assert values.min() > 0.5
    assert values.max() < 1.3
    # The first step of Adam is the learning rate, in the direction of the gradient.
    head = network.seg_layers[0].weight
    torch.testing.assert_close(change["seg_layers.0.weight"], 0.1 * head.grad.sign(), atol=1e-4, rtol=0)


def test_it_goes_on_from_its_state():
    """Two steps are the same as a step, a saved state and another step."""

    def step(network, optimizer):
        optimizer.zero_grad()
        x = torch.linspace(0, 1, 192).view(1, 3, 8, 8)
        network(x).square().mean().backward()
        optimizer.step()

    whole = small_network()
    optimizer = Muon(whole, lr=0.01)
    step(whole, optimizer)
    resumed = small_network()
    resumed.load_state_dict(whole.state_dict())
    again = Muon(resumed, lr=0.01)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(whole, optimizer)
    step(resumed, again)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_parameters_without_gradient_stay():
    network = small_network()
    before = [p.detach().clone() for p in network.parameters()]
    Muon(network, lr=1.0, weight_decay=0.5).step()
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True))
