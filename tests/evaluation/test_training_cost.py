from magms_nnunet.evaluation.training_cost import training_cost


def test_by_hand():
    assert training_cost((10.0, 20.5), 4) == {
        "epochs": 2,
        "seconds": 30.5,
        "seconds_per_epoch": 15.25,
        "modalities": 4,
    }


def test_where_no_checkpoint_says_nothing_is_known():
    assert training_cost((), 4) is None
