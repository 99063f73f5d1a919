import torch

from magms_nnunet.networks.availability import mark_absent, marked_available, without_absent

NAN = float("nan")


def test_what_is_absent_becomes_0_nan_included_and_other_channels_stay():
    x = torch.arange(1.0, 13).view(2, 3, 2)  # two modalities and the previous stage of a cascade
    x[0, 1] = NAN
    x[1, 0] = float("inf")
    result = without_absent(x, torch.tensor([[True, False], [False, True]]))
    assert result.tolist() == [[[1, 2], [0, 0], [5, 6]], [[0, 0], [9, 10], [11, 12]]]
    assert torch.isnan(x[0, 1]).all()  # the caller's is unchanged


def test_complete_samples_are_unchanged():
    x = torch.randn(2, 3, 4, 4, 4)
    everything = torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(without_absent(x, everything), x)
    assert torch.equal(mark_absent(x, everything), x)


def test_marks_are_read_back_and_cover_every_voxel():
    x = torch.randn(2, 4, 3, 3)  # three modalities and the previous stage of a cascade
    available = torch.tensor([[True, False, True], [False, False, True]])
    marked = mark_absent(x, available)
    assert torch.equal(marked_available(marked, 3), available)
    assert torch.equal(marked.isnan()[:, :3].all(3).all(2), ~available)
    assert torch.equal(marked[:, 3], x[:, 3])
    assert marked_available(x, 3).all()


def test_an_image_with_some_nan_is_not_taken_for_absent():
    x = torch.randn(1, 2, 4, 4)
    x[0, 0, :2] = NAN
    assert marked_available(x, 2).all()
