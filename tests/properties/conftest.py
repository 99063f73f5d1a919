"""Models with random weights for any number of modalities, and the same examples in every run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

from magms_nnunet import Predictor
from magms_nnunet.environment.tiny_model import make_tiny_model
from tests.properties.images import CLASSES, NAMES

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,  # the machine may be busy
    database=None,
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Callable[[int], Path]:
    """tiny_model(M) -> folder of a model of the first M of NAMES, trained for one step on noise."""
    made: dict[int, Path] = {}

    def tiny_model(modalities: int) -> Path:
        if modalities not in made:
            home = tmp_path_factory.mktemp(f"tiny{modalities}")
            torch.manual_seed(modalities)
            with pytest.MonkeyPatch.context() as patch:
                for kind in ("raw", "preprocessed", "results"):
                    patch.setenv(f"nnUNet_{kind}", str(home))
                made[modalities], _ = make_tiny_model(home, NAMES[:modalities], classes=CLASSES)
        return made[modalities]

    return tiny_model


@pytest.fixture(scope="session")
def predictor(tiny_model) -> Callable[[int], Predictor]:
    """predictor(M) -> one of that model, as fast as it can be."""
    made: dict[int, Predictor] = {}

    def predictor(modalities: int) -> Predictor:
        if modalities not in made:
            made[modalities] = Predictor(tiny_model(modalities), device="cpu", step_size=1, mirroring=False)
        return made[modalities]

    return predictor
