import numpy as np
import pytest
from nnunetv2.preprocessing.normalization.default_normalization_schemes import (
    RescaleTo01Normalization,
    ZScoreNormalization,
)

from magms_nnunet.preprocessing.normalization import (
    OwnSupportRescaleTo01Normalization,
    OwnSupportZScoreNormalization,
)

SCHEMES = [OwnSupportZScoreNormalization, OwnSupportRescaleTo01Normalization]


def tissue(shape=(6, 6, 6), seed=0):
    """Nonzero in the middle, with a hole, zero around."""
    image = np.zeros((10, 10, 10), np.float32)
    inside = np.random.default_rng(seed).uniform(50, 150, shape).astype(np.float32)
    inside[shape[0] // 2, shape[1] // 2, shape[2] // 2] = 0
    image[2 : 2 + shape[0], 2 : 2 + shape[1], 2 : 2 + shape[2]] = inside
    return image


def union_mask(image, grow):
    """What nnU-Net passes: -1 outside the union of all channels' support."""
    outside = np.full(image.shape, -1, np.int8)
    outside[2 - grow : 8 + grow, 2 - grow : 8 + grow, 2 - grow : 8 + grow] = 0
    return outside


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("use_mask", [True, False])
def test_other_channels_and_their_crop_change_nothing(scheme, use_mask):
    image = tissue()
    normalize = scheme(use_mask_for_norm=use_mask, intensityproperties={}).run
    alone = image[2:8, 2:8, 2:8]
    expected = normalize(alone.copy(), union_mask(image, 0)[2:8, 2:8, 2:8])
    wider = normalize(image.copy(), union_mask(image, 2))
    assert np.array_equal(wider[2:8, 2:8, 2:8], expected)


def test_nnunets_scheme_does_change():
    """Why these schemes exist: z-scores move with the mask that other channels contribute to."""
    image = tissue()
    normalize = ZScoreNormalization(use_mask_for_norm=True, intensityproperties={}).run
    assert (
        np.abs(normalize(image.copy(), union_mask(image, 2)) - normalize(image.copy(), union_mask(image, 0))).max()
        > 0.1
    )


@pytest.mark.parametrize("use_mask", [True, False])
@pytest.mark.parametrize(
    ("ours", "nnunets"),
    [
        (OwnSupportZScoreNormalization, ZScoreNormalization),
        (OwnSupportRescaleTo01Normalization, RescaleTo01Normalization),
    ],
)
def test_equals_nnunet_where_all_channels_have_the_same_support(ours, nnunets, use_mask):
    image = tissue()[2:8, 2:8, 2:8]
    mask = np.zeros(image.shape, np.int8)
    arguments = {"use_mask_for_norm": use_mask, "intensityproperties": {}}
    np.testing.assert_allclose(
        ours(**arguments).run(image.copy(), mask), nnunets(**arguments).run(image.copy(), mask), atol=1e-6
    )


def test_z_score_by_hand_leaves_what_is_outside_at_zero():
    image = np.zeros((1, 1, 6), np.float32)
    image[0, 0, 2:5] = [1, 2, 3]
    normalized = OwnSupportZScoreNormalization(use_mask_for_norm=True, intensityproperties={}).run(image)
    np.testing.assert_allclose(normalized[0, 0], [0, 0, -1.2247449, 0, 1.2247449, 0], atol=1e-6)


def test_rescaled_values_stay_within_0_and_1():
    normalized = OwnSupportRescaleTo01Normalization(intensityproperties={}).run(tissue())
    assert normalized.min() == 0
    assert normalized.max() == 1


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("use_mask", [True, False])
@pytest.mark.parametrize("value", [0, 7])
def test_empty_and_constant_images_stay_finite(scheme, use_mask, value):
    image = np.full((4, 4, 4), value, np.float32)
    assert np.isfinite(scheme(use_mask_for_norm=use_mask, intensityproperties={}).run(image)).all()
