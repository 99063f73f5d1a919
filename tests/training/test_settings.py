import pytest

from magms_nnunet.training.settings import Settings


def test_defaults_are_the_papers():
    assert Settings() == Settings(kl_weight=1, feature_weight=1, temperature=1, teacher_gradient=False)


@pytest.mark.parametrize(
    "wrong", [{"kl_weight": -1}, {"feature_weight": -0.1}, {"temperature": 0}, {"students_per_step": 0}]
)
def test_impossible_values_are_errors(wrong):
    with pytest.raises(ValueError, match="must be"):
        Settings(**wrong)
