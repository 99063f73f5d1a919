import numpy as np
import pytest

from magms_nnunet.demo.blind_guess import blind_guess

REGIONS = {"edema": (1,), "tumour": (1, 2)}


def test_threshold_with_the_best_training_dice_by_hand():
    labels = [np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]), np.array([1, 2, 0, 0])]
    guess = blind_guess(labels, REGIONS)
    # edema votes 3 1 1 0: from 1 on Dice (.8 + .8 + .5) / 3 = .7; from 2 or 3 on (2/3 + 2/3 + 1) / 3 = .78
    np.testing.assert_array_equal(guess["edema"], [True, False, False, False])
    # tumour votes 3 2 1 0: from 1 on (.8 + .8 + .8) / 3 = .8; from 2 on (1 + .5 + 1) / 3 = .83; from 3 on 2/3
    np.testing.assert_array_equal(guess["tumour"], [True, True, False, False])


def test_a_label_that_is_never_there_is_guessed_nowhere():
    assert not blind_guess([np.zeros(4), np.zeros(4)], {"core": (2,)})["core"].any()


@pytest.mark.parametrize("labels", [[], [np.zeros(3), np.zeros(4)]])
def test_no_labels_or_several_shapes_are_an_error(labels):
    with pytest.raises(ValueError, match="one shape"):
        blind_guess(labels, REGIONS)
