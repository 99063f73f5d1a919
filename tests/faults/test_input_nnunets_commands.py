"""nnU-Net's own commands with our trainers, given cases that lack files."""

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from magms_nnunet import trainers
from magms_nnunet.errors import InputError
from tests.faults.tiny import NAMES
from tests.trainers.conftest import CHANNELS

NEEDS_ALL = "nnUNetv2_predict needs all files of a case; predict cases that lack some with magms_predict$"


@pytest.mark.fault(2)
@pytest.mark.parametrize("name", [name for name in trainers.__all__ if "UNETR" not in name])
def test_network_that_is_given_too_few_channels_names_magms_predict(name, make_trainer):
    network = make_trainer(getattr(trainers, name)).network.eval()
    M = len(CHANNELS)
    assert len(network(torch.zeros(1, M, 16, 16, 16))) > 0
    for given in (1, M - 1, M + 1):
        with pytest.raises(InputError, match=f"^the case has {given} of the {M} channels .*: {NEEDS_ALL}"):
            network(torch.zeros(1, given, 16, 16, 16))


@pytest.mark.fault(2)
def test_nnunets_prediction_of_a_case_that_lacks_files_names_magms_predict(model):
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    with pytest.raises(InputError, match=f"^the case has 1 of the {len(NAMES)} channels .*: {NEEDS_ALL}"):
        predictor.predict_logits_from_preprocessed_data(torch.zeros(1, 18, 17, 16))
