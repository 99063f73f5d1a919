from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.errors import InputError
from magms_nnunet.images.appearance import (
    PLANS_KEY,
    Appearance,
    below_zero,
    filled_ml,
    intensity_profile,
    learn_appearance,
)
from magms_nnunet.images.cases import find_cases
from magms_nnunet.images.files import read_image_file, summarize
from magms_nnunet.images.grid import Grid

BRATS = Path(__file__).parents[2] / "shared" / "data" / "Dataset210_BraTS" / "imagesTr"
FLAT, SKEWED = 0, 1


def image(channel, seed, scale=1.0):
    """Uniform noise or squares of it, in a frame of nothing."""
    rng = np.random.default_rng((channel, seed))
    array = np.zeros((12, 20, 20), np.float32)
    noise = rng.uniform(1, 10 + rng.uniform(-1, 1), (10, 18, 18))
    array[1:-1, 1:-1, 1:-1] = scale * (noise if channel == FLAT else noise**4)
    return array


@pytest.fixture
def learned(tmp_path):
    cases = []
    for seed in range(6):
        paths = [tmp_path / f"p{seed}_{channel:04d}.nii.gz" for channel in (FLAT, SKEWED)]
        for channel, path in enumerate(paths):
            sitk.WriteImage(sitk.GetImageFromArray(image(channel, seed, scale=10.0**seed)), str(path))
        cases.append(dict(enumerate(paths)))
    return learn_appearance(cases)


def voxels(**channels):
    return {int(given[1:]): summarize(image(real, 99, scale=7.0)) for given, real in channels.items()}


def test_a_look_is_seven_percentiles_of_z_scores():
    """Of 0 to 200 without the 0: mean 100.5, SD sqrt((200^2 - 1) / 12) = 57.73, 5 % at 10.95."""
    found = intensity_profile(summarize(np.arange(201, dtype=np.float32).reshape(3, 67)))
    assert found == pytest.approx(
        (np.array([10.95, 20.9, 50.75, 100.5, 150.25, 180.1, 190.05]) - 100.5) / 57.734, rel=1e-4
    )


def test_a_look_does_not_depend_on_the_scale():
    assert intensity_profile(summarize(image(SKEWED, 0, 1000))) == pytest.approx(
        intensity_profile(summarize(image(SKEWED, 0))), abs=1e-4
    )


@pytest.mark.parametrize("array", [np.ones((5, 5, 5)), np.zeros((9, 9, 9)), np.arange(99.0)])
def test_too_little_has_no_look(array):
    assert intensity_profile(summarize(array)) is None


def test_numbers_beyond_all_measure_have_no_look():
    assert intensity_profile(summarize(np.tile([-1e308, 1e308], 100))) is None


def test_learning_is_mean_and_sd_over_the_cases(learned):
    assert sorted(learned) == ["0", "1"]
    looks = [intensity_profile(summarize(image(SKEWED, seed))) for seed in range(6)]
    assert learned["1"]["cases"] == 6
    assert learned["1"]["mean"] == pytest.approx(np.mean(looks, 0), abs=1e-4)
    assert learned["1"]["sd"] == pytest.approx(np.std(looks, 0, ddof=1), abs=1e-4)


def test_nothing_is_learned_from_few_cases_or_from_damaged_ones(tmp_path):
    assert learn_appearance([]) == {}
    path = tmp_path / "p.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(image(FLAT, 0)), str(path))
    assert learn_appearance([{0: path}] * 4) == {}
    assert learn_appearance([{0: path}] * 5)["0"]["cases"] == 5
    path.write_bytes(b"damaged")
    assert learn_appearance([{0: path}] * 5) == {}


@pytest.mark.parametrize(
    ("files", "mistaken"),
    [
        ({"_0": FLAT, "_1": SKEWED}, {}),
        ({"_0": SKEWED, "_1": FLAT}, {0: 1, 1: 0}),
        ({"_0": FLAT}, {}),
        ({"_0": SKEWED}, {0: 1}),
        ({"_1": FLAT}, {1: 0}),
        ({"_0": FLAT, "_1": FLAT}, {1: 0}),
    ],
)
def test_files_of_another_modality_are_noticed(files, mistaken, learned):
    assert Appearance.from_plans({PLANS_KEY: learned}, 2).mistaken(voxels(**files)) == mistaken


def at_distances(*sd):
    """An appearance of channels without spread, and a file at these distances from them, in standard deviations."""
    file = summarize(np.random.default_rng(0).normal(100, 20, (20, 20, 20)).astype(np.float32))
    n = 10**9  # so many cases that nothing is left of Student's t
    looks = {channel: (intensity_profile(file) - distance, np.ones(7), n) for channel, distance in enumerate(sd)}
    return Appearance(looks, {}), file


@pytest.mark.parametrize(
    ("own", "other", "noticed"),
    [(2.55, 1.2, True), (2.45, 1.2, False), (2.55, 1.3, False), (9, 1.2, True), (9, 1.3, False)],
)
def test_a_single_file_is_anothers_where_it_is_far_from_its_own_and_near_to_that(own, other, noticed):
    """2.5 and 1.25 standard deviations."""
    appearance, file = at_distances(own, other)
    assert appearance.mistaken({0: file}) == ({0: 1} if noticed else {})


@pytest.mark.parametrize(("own", "other", "strange"), [(3.3, 7, [0]), (3.3, 3.2, []), (3.2, 7, [])])
def test_a_file_that_is_far_from_all_is_strange(own, other, strange):
    appearance, file = at_distances(own, other)
    assert appearance.unlike_all({0: file}) == strange


@pytest.mark.parametrize(
    ("trained", "strange"), [({}, []), ({"below_zero": 0.0}, [0]), ({"below_zero": 0.5}, [])], ids=["older", "MR", "CT"]
)
def test_an_image_with_air_below_zero_is_strange_to_a_model_of_images_without(trained, strange):
    """What older planners have not looked at is not known."""
    rng = np.random.default_rng(0)
    ct = np.concatenate([rng.normal(-1000, 10, 3000), rng.normal(40, 20, 3000), rng.normal(400, 100, 1000)])
    file = summarize(ct.astype(np.float32))
    plans = {"mean": intensity_profile(file).tolist(), "sd": [1.0] * 7, "cases": 9, **trained}
    appearance = Appearance.from_plans({PLANS_KEY: {"0": plans}}, 1)
    assert appearance.unlike_all({0: file}) == strange


def test_what_resampling_leaves_below_zero_does_not_count(learned):
    ringing = image(SKEWED, 5).copy()
    ringing[ringing == 0] = -0.01 * ringing.max()
    assert below_zero(summarize(ringing)) == 0
    assert learned["1"]["below_zero"] == 0


@pytest.mark.parametrize(
    ("distances", "files", "like"),
    [
        ((0.5, 3, 3), 3, 0),
        ((3, 0.5, 3), 3, 1),
        ((0.5, 3, 3), 2, None),  # two may be alike
        ((2.6, 9, 9), 3, None),  # like none of them
        ((0.5, 0.6, 0.7), 3, None),  # as they should be
    ],
)
def test_images_of_one_modality_under_the_numbers_of_patients(distances, files, like):
    appearance, file = at_distances(*distances)
    assert appearance.all_resemble(dict.fromkeys(range(files), file)) == like


def test_without_anything_learned_nothing_is_said():
    assert Appearance.from_plans({}, 2).mistaken(voxels(_0=SKEWED, _1=FLAT)) == {}


@pytest.mark.parametrize(("median", "like"), [(-50, None), (500, None), (700, 1), (5000, None)])
def test_units_are_known_from_the_fingerprint(median, like):
    """CT from -100 to 200, a whole width of 300 beyond is far; MR from 600 to 900."""
    intensities = {
        "0": {"percentile_00_5": -100, "percentile_99_5": 200},
        "1": {"percentile_00_5": 600, "percentile_99_5": 900},
    }
    appearance = Appearance.from_plans({"foreground_intensity_properties_per_channel": intensities}, 2)
    given = {0: summarize(median + np.arange(-5.0, 6))}
    assert appearance.mistaken(given) == ({} if like is None else {0: like})


@pytest.mark.parametrize(
    "plans",
    [
        {PLANS_KEY: []},
        {PLANS_KEY: {"0": {"mean": [0] * 7}}},
        {PLANS_KEY: {"0": {"mean": [0] * 6, "sd": [1] * 6, "cases": 9}}},
        {PLANS_KEY: {"0": {"mean": ["a"] * 7, "sd": [1] * 7, "cases": 9}}},
        {PLANS_KEY: {"0": {"mean": [0] * 7, "sd": [1] * 7, "cases": 3}}},
        {PLANS_KEY: {"T1": {"mean": [0] * 7, "sd": [1] * 7, "cases": 9}}},
        {"foreground_intensity_properties_per_channel": {"0": {"percentile_00_5": "low"}}},
    ],
)
def test_damaged_plans_are_an_error(plans):
    with pytest.raises(InputError, match=r"plans.json: magms_appearance or .* is damaged: copy it again"):
        Appearance.from_plans(plans, 4)


@pytest.mark.skipif(not BRATS.is_dir(), reason=f"{BRATS} is not here")
def test_real_patients_each_against_the_others():
    """No patient is warned of; T2 in place of T1 is always noticed, FLAIR in place of T1c seldom (docs/results.md)."""
    voxels = [
        {channel: read_image_file(path)[1] for channel, path in case.files.items()}
        for case in find_cases(BRATS, ".nii.gz")[0]
    ]
    looks = [{channel: intensity_profile(found) for channel, found in case.items()} for case in voxels]
    noticed = {}
    for number, case in enumerate(voxels):
        others = [found for i, found in enumerate(looks) if i != number]
        appearance = Appearance(
            {
                channel: (
                    np.mean([o[channel] for o in others], 0),
                    np.std([o[channel] for o in others], 0, ddof=1),
                    len(others),
                )
                for channel in range(4)
            },
            {},
        )
        assert appearance.mistaken(case) == {}
        assert (appearance.unlike_all(case), appearance.all_resemble(case)) == ([], None)
        assert [appearance.mistaken({channel: found}) for channel, found in case.items()] == [{}] * 4
        for a, b in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
            swapped = appearance.mistaken(case | {a: case[b], b: case[a]})
            noticed[a, b] = noticed.get((a, b), 0) + bool({a, b} & swapped.keys())
    assert noticed == {(0, 1): 7, (0, 2): 2, (0, 3): 3, (1, 2): 2, (1, 3): 12, (2, 3): 12}


@pytest.mark.parametrize(
    ("to_its_own", "to_another", "is_mistaken"),
    [(2.51, 1.24, True), (2.51, 1.26, False), (2.49, 1.24, False), (9.0, 1.24, True), (9.0, 1.26, False)],
)
def test_a_single_file_is_far_from_its_own_modality_and_near_to_another(to_its_own, to_another, is_mistaken):
    """Distances in standard deviations: more than 2.5 from its own, and less than 1.25 from the other."""
    found = intensity_profile(summarize(image(FLAT, 0)))
    many, sd = 10**9, np.ones(7)  # so many cases that the distance is the plain one
    looks = {FLAT: (found + to_its_own, sd, many), SKEWED: (found - to_another, sd, many)}
    mistaken = Appearance(looks, {}).mistaken({FLAT: summarize(image(FLAT, 0))})
    assert mistaken == ({FLAT: SKEWED} if is_mistaken else {})


def volume(side, spacing_mm=(1.0, 1.0, 2.0)):
    """An image of 100 x 100 x 100 voxels with a cube that is not 0."""
    array = np.zeros((100, 100, 100), np.float32)
    array[:side, :side, :side] = np.random.default_rng(0).normal(100, 20, (side, side, side))
    return Grid((100, 100, 100), spacing_mm, (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)), summarize(array)


def test_what_is_not_0_fills_a_volume():
    assert filled_ml(*volume(80)) == pytest.approx(1024, rel=0.02)  # 80^3 voxels of 2 mm3; a sample of them
    grid, voxels = volume(80, (1.0, 1.0, 999.0))
    assert filled_ml(grid, voxels) is None  # nnU-Net's 2-D image
    assert filled_ml(Grid((100, 100), (1.0, 1.0), (0.0, 0.0), (1.0, 0, 0, 1.0)), voxels) is None


@pytest.mark.parametrize(("largest_ml", "overfull"), [(500, True), (700, False), (None, False)])
def test_a_head_is_noticed_by_a_model_of_brains(largest_ml, overfull):
    """1.75 times the largest training image; older plans know of none."""
    learned = {"mean": [0.0] * 7, "sd": [1.0] * 7, "cases": 9}
    learned |= {} if largest_ml is None else {"largest_ml": largest_ml}
    found = Appearance.from_plans({PLANS_KEY: {"0": learned}}, 1).overfull({0: volume(80)})
    assert [*found] == ([0] if overfull else [])
    assert all(ml == pytest.approx(1024, rel=0.02) for ml in found.values())


def test_the_largest_training_image_is_learned(learned):
    assert learned["0"]["largest_ml"] > 0
