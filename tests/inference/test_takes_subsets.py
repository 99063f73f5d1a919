"""Networks for any subset of the modalities are known by their weights."""

import pytest

from magms_nnunet import trainers
from magms_nnunet.model.model import FOR_SUBSETS
from magms_nnunet.networks.any_subset_unet import AnySubsetUNet
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet
from tests.trainers.conftest import make_trainer  # noqa: F401 (a fixture)


@pytest.mark.parametrize("name", [name for name in trainers.__all__ if "UNETR" not in name])
def test_weights_tell_whether_a_network_takes_any_subset(name, make_trainer):  # noqa: F811
    network = make_trainer(getattr(trainers, name)).plain_network
    told = any(weight.startswith(FOR_SUBSETS) for weight in network.state_dict())
    assert told == isinstance(network, AnySubsetUNet | MultiEncoderUNet)
