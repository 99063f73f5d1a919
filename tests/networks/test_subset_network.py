import torch

from magms_nnunet.networks.subset_network import SubsetNetwork


def test_takes_only_the_channels_of_the_subset_and_the_previous_stage(build):
    network = build(4, extra=2).eval()
    x = torch.randn(2, 6, 16, 16, 16)
    available = torch.tensor([[True, False, True, False]] * 2)
    assert torch.equal(SubsetNetwork(network, (0, 2))(x[:, [0, 2, 4, 5]]), network(x, available))


def test_the_complete_subset_is_the_network_itself(build):
    network, x = build(3).eval(), torch.randn(1, 3, 16, 16, 16)
    assert torch.equal(SubsetNetwork(network, (0, 1, 2))(x), network(x))


def test_loads_weights_of_the_network(build):
    network, other = build(2).eval(), build(2).eval()
    SubsetNetwork(network, (1,)).load_state_dict(other.state_dict())
    x = torch.randn(1, 2, 16, 16, 16)
    assert torch.equal(network(x), other(x))
