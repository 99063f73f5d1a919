import pytest
import torch

from magms_nnunet.errors import InputError


def test_a_cascade_whose_case_lacks_a_modality_is_not_taken_for_one_without_previous_stage(build):
    """Two modalities and one class of the previous stage: three channels, of which two are given."""
    network = build(2, extra=1).eval()
    with pytest.raises(InputError, match="the case has 2 of the 3 channels"):
        network(torch.zeros(1, 2, 16, 16, 16))
    assert network(torch.zeros(1, 3, 16, 16, 16)).shape[1] == 3
