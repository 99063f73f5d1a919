import pytest
import torch
from torch import nn

from magms_nnunet.losses.backward_per_branch import backward_per_branch


def setting():
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    encoder = nn.Linear(4, 3)
    x = torch.randn(5, 4)
    return encoder, layer, x


def losses_of(layer):
    def losses(inputs):
        for i, features in enumerate(inputs):
            value = layer(features)
            yield torch.stack([value.square().mean(), (i + 1) * value.sin().sum()])

    return losses


def gradients(compute, *modules):
    for module in modules:
        module.zero_grad()
    compute().backward()
    return [p.grad.clone() for module in modules for p in module.parameters()]


@pytest.mark.parametrize("autocast", [False, True])
def test_value_and_gradients_are_those_of_the_sum(autocast):
    encoder, layer, x = setting()

    def ordinary():
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            features = [encoder(x), encoder(2 * x)]
            return torch.stack([row.float() for row in losses_of(layer)(features)]).sum()

    def at_once():
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            features = [encoder(x), encoder(2 * x)]
            return backward_per_branch(losses_of(layer), features, list(layer.parameters()))[0].float()

    tolerance = {"rtol": 2e-2, "atol": 2e-2} if autocast else {}
    torch.testing.assert_close(at_once(), ordinary(), **tolerance)
    pairs = zip(gradients(ordinary, encoder, layer), gradients(at_once, encoder, layer), strict=True)
    for expected, ours in pairs:
        torch.testing.assert_close(ours, expected, **tolerance)


def test_the_backward_pass_may_weigh_the_sum():
    encoder, layer, x = setting()

    def total():
        return backward_per_branch(losses_of(layer), [encoder(x)], list(layer.parameters()))[0]

    once = gradients(total, encoder, layer)
    thrice = gradients(lambda: 3 * total(), encoder, layer)
    for a, b in zip(once, thrice, strict=True):
        torch.testing.assert_close(3 * a, b)


def test_a_scale_keeps_what_float16_would_lose():
    """A gradient of 1e-9 is 0 in float16, 2^16 times as much is not."""
    features = torch.ones(1, dtype=torch.float16, requires_grad=True)

    def small(inputs):
        yield inputs[0].float() * 1e-9

    seen = []
    features.register_hook(lambda g: seen.append(float(g)))
    for scale in (None, torch.tensor(2.0**16)):
        total, _ = backward_per_branch(small, [features], [], scale)
        (total if scale is None else total * scale).backward()
    assert seen[0] == 0
    assert seen[1] == pytest.approx(1e-9 * 2**16, rel=0.01)


def test_gradients_that_autograd_shares_are_kept_apart():
    """The gradient of a + b is one tensor for both, and that of a sum has one element of memory."""
    a, b = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)

    def losses(inputs):
        yield inputs[0] + inputs[1]
        yield inputs[0] * 5

    backward_per_branch(losses, [a, b], [])[0].backward()
    assert a.grad.tolist() == [6, 6, 6]
    assert b.grad.tolist() == [1, 1, 1]


def test_an_input_that_no_loss_uses_gets_no_gradient():
    used, unused = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    backward_per_branch(lambda inputs: iter([inputs[0] * 2]), [used, unused], [])[0].backward()
    assert torch.equal(used.grad, torch.full((2,), 2.0))
    assert unused.grad is None


def test_only_one_graph_exists_at_a_time():
    """Each loss saves one activation for its backward pass; the next one begins after it is gone."""
    alive = []

    class Activation(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x * 1)
            ctx.mark_in_graph = Marker()
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2

    class Marker:
        def __init__(self):
            alive.append(1)

        def __del__(self):
            alive.pop()

    counts = []

    def losses(inputs):
        for features in inputs:
            value = Activation.apply(features)
            counts.append(len(alive))
            value = value.sum()
            yield value

    features = [torch.ones(3, requires_grad=True) for _ in range(4)]
    backward_per_branch(losses, features, [])[0].backward()
    assert counts == [1, 1, 1, 1]
    assert all(torch.equal(f.grad, torch.full((3,), 2.0)) for f in features)


def test_a_second_backward_pass_is_an_error():
    x = torch.ones(1, requires_grad=True)
    total, _ = backward_per_branch(lambda inputs: iter([inputs[0]]), [x], [])
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward pass"):
        total.backward()
