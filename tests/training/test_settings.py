import pytest

from magms_nnunet.training.settings import Settings


def test_defaults_are_the_papers_with_a_ramp():
    assert Settings() == Settings(kl_weight=1, feature_weight=1, temperature=1, teacher_gradient=False, ramp=0.3)


def test_distillation_rises_to_its_weight():
    settings = Settings(ramp=0.5)
    assert settings.distillation(0) == pytest.approx(0.006738, rel=1e-3)  # exp(-5)
    assert settings.distillation(0.25) == pytest.approx(0.286505, rel=1e-5)  # exp(-5 / 4)
    assert settings.distillation(0.5) == settings.distillation(1) == 1
    assert Settings(ramp=0).distillation(0) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"kl_weight": -1},
        {"feature_weight": -0.1},
        {"temperature": 0},
        {"students_per_step": 0},
        {"ramp": -0.1},
        {"ramp": 1.1},
        {"rarity_cap": 0.5},
    ],
)
def test_impossible_values_are_errors(wrong):
    with pytest.raises(ValueError, match="must be"):
        Settings(**wrong)
