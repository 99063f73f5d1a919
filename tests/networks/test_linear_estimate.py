import numpy as np
import pytest
import torch

from magms_nnunet.networks.linear_estimate import LinearEstimate

RIDGE = 0.01  # the estimate is that of a ridge regression


def images(samples=1, extra=0, seed=0) -> torch.Tensor:
    """Three modalities that share a part."""
    torch.manual_seed(seed)
    shared = torch.randn(samples, 1, 16, 16)
    own = torch.randn(samples, 3 + extra, 16, 16)
    return own + shared * torch.tensor([1.0, 2.0, -1.0] + [0.0] * extra).view(1, -1, 1, 1)


def learned(batches) -> LinearEstimate:
    """The estimate after training steps on complete batches."""
    estimate = LinearEstimate(3).train()
    for batch in batches:
        estimate(batch, torch.ones(len(batch), 3, dtype=torch.bool))
    return estimate.eval()


def has(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def test_it_is_the_linear_regression_on_the_available_modalities():
    x = images()
    estimate = learned([x])
    voxels = x[0].flatten(1)[:, ::4].double().numpy()
    ridge = RIDGE * np.mean(voxels**2)
    for absent, present in ((0, [1, 2]), (1, [0]), (2, [1])):
        gram = voxels[present] @ voxels[present].T / voxels.shape[1] + ridge * np.eye(len(present))
        factors = np.linalg.solve(gram, voxels[present] @ voxels[absent] / voxels.shape[1])
        mask = has([m in present for m in range(3)])
        zeros = x * mask.view(1, 3, 1, 1)
        expected = np.tensordot(factors, x[0, present].double().numpy(), 1)
        np.testing.assert_allclose(estimate(zeros, mask)[0, absent].numpy(), expected, atol=1e-5)


def test_available_modalities_and_the_previous_stage_pass_unchanged():
    x, mask = images(2, extra=2), has([1, 0, 1], [1, 1, 1])
    x[0, 1] = 0
    estimate = learned([images()])
    given = estimate(x, mask)
    assert torch.equal(given[0, [0, 2, 3, 4]], x[0, [0, 2, 3, 4]])
    assert torch.equal(given[1], x[1])
    assert given[0, 1].any()


def test_each_sample_has_its_own_subset():
    x, mask = images(2), has([1, 0, 1], [0, 1, 0])
    x = x * mask.view(2, 3, 1, 1)
    estimate = learned([images()])
    together = estimate(x, mask)
    for sample in range(2):
        torch.testing.assert_close(together[sample : sample + 1], estimate(x[sample : sample + 1], mask[sample, None]))


def test_the_background_stays_zero():
    x = images() * has([1, 0, 0]).view(1, 3, 1, 1)
    x[..., :8] = 0
    assert not learned([images()])(x, has([1, 0, 0]))[..., :8].any()


def test_before_the_first_step_the_estimate_is_zero():
    x = images() * has([1, 0, 1]).view(1, 3, 1, 1)
    assert torch.equal(LinearEstimate(3).eval()(x, has([1, 0, 1])), x)


def test_prediction_learns_nothing():
    estimate = learned([images()])
    before = {name: tensor.clone() for name, tensor in estimate.state_dict().items()}
    estimate(images(seed=1), has([1, 1, 1]))
    assert all(torch.equal(tensor, before[name]) for name, tensor in estimate.state_dict().items())


def test_moments_are_the_mean_over_the_batches():
    batches = [images(seed=seed) for seed in range(3)]
    expected = torch.stack([torch.einsum("biv,bjv->ij", *[b.flatten(2)[:, :, ::4]] * 2) / 64 for b in batches]).mean(0)
    torch.testing.assert_close(learned(batches).moments, expected)


def test_a_pair_is_learned_from_the_samples_that_have_both():
    estimate, x = LinearEstimate(3).train(), images(2)
    mask = has([1, 1, 0], [0, 1, 1])
    estimate(x * mask.view(2, 3, 1, 1), mask)
    of_first, of_second = (x[sample].flatten(1)[:, ::4] for sample in range(2))
    assert estimate.moments[0, 1] == pytest.approx((of_first[0] * of_first[1]).mean().item(), rel=1e-5)
    both = (of_first[1].square().mean() + of_second[1].square().mean()) / 2
    assert estimate.moments[1, 1] == pytest.approx(both.item(), rel=1e-5)
    assert estimate.moments[0, 2] == 0  # no sample has both
    assert estimate.batches[0, 2] == 0


def test_equal_modalities_have_finite_estimates():
    x = images()
    x[:, 1] = x[:, 0]
    mask = has([1, 1, 0])
    assert learned([x])(x * mask.view(1, 3, 1, 1), mask).abs().max() < 10


def test_mixed_precision_does_not_reach_the_moments():
    exact, x = learned([images()]), images()
    with torch.autocast("cpu", torch.bfloat16):
        estimate = LinearEstimate(3).train()
        estimate(x, has([1, 1, 1]))
    assert torch.equal(estimate.moments, exact.moments)


@pytest.mark.parametrize("contradiction", [0.0, -1.5])
def test_two_modalities_that_no_sample_has_together_are_independent_given_the_others(contradiction):
    """One hospital has modalities 0, 1 and 3, the other 0, 2 and 3; a patient comes with 0, 1 and 2."""
    shares = torch.tensor([0.98, 0.82, 0.62, 0.95])
    true = shares[:, None] * shares + torch.diag(1 - shares**2)
    seen = torch.ones(4, 4)
    seen[1, 2] = seen[2, 1] = 0
    estimate = LinearEstimate(4).eval()
    estimate.batches.copy_(seen)
    estimate.moments.copy_(true * seen)
    estimate.moments[1, 3] = estimate.moments[3, 1] = true[1, 3] + contradiction
    x = torch.distributions.MultivariateNormal(torch.zeros(4), true).sample((400,)).T.reshape(1, 4, 20, 20)
    x[:, 3] = 0
    before = estimate(x, has([1, 1, 1, 0]))[0, 3].std()
    estimate.complete()
    completed = estimate.moments + RIDGE * torch.eye(4)
    assert torch.linalg.eigvalsh(completed).min() > 0
    assert torch.linalg.inv(completed)[1, 2].abs() < 1e-3
    assert estimate(x, has([1, 1, 1, 0]))[0, 3].std() < 1.1 < 2 < before
    if not contradiction:
        torch.testing.assert_close(estimate.moments * seen, true * seen)


def test_where_every_two_modalities_occur_together_nothing_is_completed():
    estimate = learned([images()])
    before = estimate.moments.clone()
    estimate.complete()
    assert torch.equal(estimate.moments, before)
