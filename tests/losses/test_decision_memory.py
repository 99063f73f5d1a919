import pytest
import torch

from magms_nnunet.losses.decision_memory import DecisionMemory
from magms_nnunet.networks.decision_offset import DecisionOffset
from magms_nnunet.training.subset_law import SubsetLaw

FULL, FIRST = [True, True], [True, False]


def memory(outputs=1, regions=True, ignore_label=None, batch_dice=False) -> DecisionMemory:
    torch.manual_seed(0)
    offset = DecisionOffset(2, outputs)
    offset.regions.fill_(regions)
    return DecisionMemory(offset, regions=regions, ignore_label=ignore_label, batch_dice=batch_dice)


def fitted(kept: DecisionMemory, batches) -> DecisionOffset:
    """Steps of pairs of logits ``(B, outputs, V)``, subsets and targets, until the offset is learned."""
    for logits, available, target in batches:
        kept.observe(logits, torch.tensor(available), target)
    kept.fit()
    return kept.decision_offset


def decided(offset: DecisionOffset, logits, available) -> torch.Tensor:
    return offset(logits, torch.tensor(available)) > 0


def noisy(rows, repeats=60):
    """The samples with small differences, as no two patients are equal."""
    torch.manual_seed(1)
    rows = torch.tensor(rows)[:, None]
    return [rows + 0.1 * torch.randn_like(rows) for _ in range(repeats)]


@pytest.mark.parametrize("batch_dice", [False, True])
def test_each_subset_has_its_own_threshold(batch_dice):
    """From both modalities the structure is certain; from the first alone it is 20 % probable."""
    certain, doubtful = [6.0] * 4 + [-1.4] * 4, [-1.4] * 4 + [-6.0] * 4
    target = torch.tensor([1.0] * 4 + [0.0] * 4).expand(2, 1, 8)
    batches = [(logits, [FULL, FIRST], target) for logits in noisy([certain, doubtful])]
    offset = fitted(memory(batch_dice=batch_dice), batches)
    assert torch.equal(decided(offset, batches[0][0], [FULL, FIRST]), target > 0)


def test_doubtful_samples_of_one_subset_have_a_lower_threshold():
    certain, doubtful = [6.0] * 4 + [-0.9] * 4, [-1.4] * 4 + [-6.0] * 4
    target = torch.tensor([1.0] * 4 + [0.0] * 4).expand(2, 1, 8)
    batches = [(logits, [FULL, FULL], target) for logits in noisy([certain, doubtful])]
    offset = fitted(memory(), batches)
    assert torch.equal(decided(offset, batches[0][0], [FULL, FULL]), target > 0)


def test_with_a_softmax_the_class_is_raised_over_the_background():
    logits = [torch.stack((torch.zeros_like(x), x), 1).squeeze(2) for x in noisy([[-1.4] * 4 + [-6.0] * 4] * 2)]
    labels = torch.tensor([1.0] * 4 + [0.0] * 4).expand(2, 1, 8)
    offset = fitted(memory(2, regions=False), [(x, [FULL, FULL], labels) for x in logits])
    moved = offset(logits[0], torch.tensor([FULL, FULL]))
    assert torch.equal(moved.argmax(1, keepdim=True), labels.long())
    assert torch.equal(moved[:, 0], logits[0][:, 0])  # the background stays


@pytest.mark.parametrize("batch_dice", [False, True])
def test_with_a_softmax_of_several_classes_only_the_doubtful_one_is_raised(batch_dice):
    """Four voxels of the first class are certain, four of the second are 20 % probable."""
    first = [6.0] * 4 + [-6.0] * 12
    second = [-6.0] * 4 + [-1.4] * 4 + [-6.0] * 8
    logits = [torch.cat((torch.zeros(1, 1, 16), one[None, :, 0]), 1) for one in noisy([first, second])]
    labels = torch.tensor([1.0] * 4 + [2.0] * 4 + [0.0] * 8).expand(1, 1, 16)
    offset = fitted(memory(3, regions=False, batch_dice=batch_dice), [(x, [FULL], labels) for x in logits] * 2)
    moved = offset(logits[0], torch.tensor([FULL]))
    assert torch.equal(moved.argmax(1, keepdim=True), labels.long())
    assert torch.equal(moved[:, 0], logits[0][:, 0])  # the background stays


@pytest.mark.parametrize("batch_dice", [False, True])
def test_a_class_is_not_raised_at_the_cost_of_another(batch_dice):
    """Eight voxels look alike; six belong to the first class, two to the second.

    With the first class in all of them, the mean Dice is (12/14 + 0) / 2, with the second (0 + 4/10) / 2.
    """
    alike, other = [2.0] * 8 + [-6.0] * 8, [1.5] * 8 + [-6.0] * 8
    logits = [torch.cat((torch.zeros(1, 1, 16), one[None, :, 0]), 1) for one in noisy([alike, other])]
    labels = torch.tensor([1.0] * 6 + [2.0] * 2 + [0.0] * 8).expand(1, 1, 16)
    offset = fitted(memory(3, regions=False, batch_dice=batch_dice), [(x, [FULL], labels) for x in logits] * 2)
    found = offset(torch.cat(logits), torch.tensor([FULL] * len(logits))).argmax(1)
    assert (found[:, :8] == 1).float().mean() > 0.5
    assert not found[:, 8:].any()


@pytest.mark.parametrize("regions", [True, False])
def test_samples_without_the_structure_raise_the_threshold_as_far_as_false_positives_cost(regions):
    """All samples look alike: four voxels are certain, four doubtful; a structure of 24 voxels includes all eight.

    With the doubtful voxels its Dice is 16 / (8 + 24) = 0.5, without them 8 / (4 + 24) = 0.29, a difference of 0.21. In
    a sample without the structure they cost an image with another 24 voxels of it, of a Dice of 0.5 at most, at most
    0.5 * (48 / 52 - 48 / 56) = 0.033, and of a Dice of 0.29 at least 0.019.
    """
    x = noisy([[6.0] * 4 + [-1.0] * 4 + [-9.0] * 24])
    if not regions:  # a second class that no sample has
        x = [torch.cat((torch.zeros_like(one), one, torch.full_like(one, -12.0)), 1) for one in x]
    present = torch.cat((torch.ones(24), torch.zeros(8)))[None, None]

    def found(absent: int) -> list[bool]:
        targets = torch.cat((present, *[torch.zeros_like(present)] * absent))
        batches = [(one.expand(1 + absent, -1, -1), [FULL] * (1 + absent), targets) for one in x]
        logits = fitted(memory(1 if regions else 3, regions), batches)(x[0], torch.tensor([FULL]))
        return (logits[0, 0] > 0 if regions else logits[0].argmax(0) == 1).tolist()

    assert found(absent=4) == [True] * 8 + [False] * 24
    assert not any(found(absent=19)[4:])


def test_slices_are_scored_together():
    """All slices look alike, and one of ten has a structure of two voxels.

    Over all slices of a subset the certain voxel gives a Dice of 2 / (10 + 2), the two doubtful ones with it 4 / (30 +
    2); in the slice alone it would be 2 / 3 and 4 / 5.
    """
    target = torch.zeros(10, 1, 4)
    target[0, 0, :2] = 1
    batches = [(x, [FULL] * 10, target) for x in noisy([[4.0, -1.0, -1.0, -6.0]] * 10)]
    offset = fitted(memory(batch_dice=True), batches)
    found = decided(offset, torch.cat([logits for logits, *_ in batches]), [FULL] * 600)[:, 0]
    assert found[:, 0].float().mean() > 0.25
    assert not found[:, 1:].any()


def test_slices_of_several_classes_and_many_subsets_are_scored_together():
    """All slices look alike, one of ten has a structure of two voxels; a second class never occurs.

    Over all slices of a subset the certain voxel gives a Dice of 2 / (10 + 2), the two doubtful ones with it 4 / (30 +
    2); in the slice alone it would be 2 / 3 and 4 / 5. There are 254 incomplete subsets.
    """
    torch.manual_seed(0)
    kept, law = DecisionMemory(DecisionOffset(8, 3), batch_dice=True), SubsetLaw()
    target = torch.zeros(10, 1, 4)
    target[0, 0, :2] = 1
    for x in noisy([[2.0, -1.0, -1.0, -6.0]] * 10, repeats=200):
        logits = torch.cat((torch.zeros_like(x), x, torch.full_like(x, -9.0)), 1)
        kept.observe(logits, law.draw(torch.ones(10, 8, dtype=torch.bool)), target)
    kept.fit()
    alone = kept.decision_offset(logits[:8], torch.eye(8, dtype=torch.bool)).argmax(1)
    assert alone.tolist() == [[1, 0, 0, 0]] * 8


def test_a_fit_starts_anew():
    """Its result depends on the samples that are kept and not on the number of epochs before."""
    kept = memory()
    target = torch.tensor([1.0] * 4 + [0.0] * 4).expand(2, 1, 8)
    for logits in noisy([[-1.4] * 4 + [-6.0] * 4] * 2):
        kept.observe(logits, torch.tensor([FULL, FIRST]), target)
    torch.manual_seed(0)
    kept.fit()
    first = {name: of_offset.clone() for name, of_offset in kept.decision_offset.state_dict().items()}
    torch.manual_seed(0)
    kept.fit()
    assert all(torch.equal(first[name], now) for name, now in kept.decision_offset.state_dict().items())
    assert first["output.weight"].any()
    features = kept._samples[0].features
    assert torch.allclose(first["mean"], torch.stack([one.features for one in kept._samples]).mean(0), atol=1e-5)
    assert first["scale"].shape == features.shape
    assert first["scale"].min() == pytest.approx(0.1)


def test_a_sample_that_overflowed_does_no_harm():
    logits = [torch.stack((torch.zeros_like(x), x, x - 9), 1).squeeze(2) for x in noisy([[-1.4] * 4 + [-6.0] * 4] * 2)]
    labels = torch.tensor([1.0] * 4 + [0.0] * 4).expand(2, 1, 8)
    kept = memory(3, regions=False)
    for overflow in (torch.nan, torch.inf, -torch.inf):
        kept.observe(torch.full((2, 3, 8), overflow), torch.tensor([FULL, FULL]), labels)
    offset = fitted(kept, [(x, [FULL, FULL], labels) for x in logits])
    assert torch.equal(offset(logits[0], torch.tensor([FULL, FULL])).argmax(1, keepdim=True), labels.long())


def test_voxels_without_annotation_do_not_count():
    logits = noisy([[-1.4] * 4 + [-4.0] * 4 + [-1.0] * 8])  # the last eight are not annotated
    target = torch.tensor([[[1.0] * 4 + [0.0] * 12, [0.0] * 8 + [1.0] * 8]])
    offset = fitted(memory(ignore_label=2), [(x, [FULL], target) for x in logits] * 2)
    assert decided(offset, logits[0], [FULL])[0, 0, :8].tolist() == [True] * 4 + [False] * 4


@pytest.mark.parametrize("regions", [True, False])
def test_certain_decisions_stay(regions):
    x = noisy([[6.0] * 4 + [-6.0] * 4] * 2)
    target = torch.tensor([1.0] * 4 + [0.0] * 4).expand(2, 1, 8)
    if not regions:
        x = [torch.cat((-one, one), 1) for one in x]
    offset = fitted(memory(1 if regions else 2, regions), [(one, [FULL, FIRST], target) for one in x])
    moved = offset(x[0], torch.tensor([FULL, FIRST]))
    found = moved > 0 if regions else moved.argmax(1, keepdim=True) > 0
    assert torch.equal(found, target > 0)


def test_few_samples_change_nothing():
    kept = memory()
    kept.fit()
    kept.observe(torch.full((2, 1, 8), -1.0), torch.tensor([FULL, FIRST]), torch.ones(2, 1, 8))
    kept.fit()
    assert not kept.decision_offset.output.weight.any()


def test_only_the_last_samples_are_kept():
    kept = memory()
    for _ in range(300):
        kept.observe(torch.zeros(4, 1, 8), torch.tensor([FULL] * 4), torch.ones(4, 1, 8))
    assert len(kept) == kept.CAPACITY == 1024
