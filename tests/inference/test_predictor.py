import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread, current_thread
from time import sleep

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet.errors import InputError
from magms_nnunet.inference import predictor as module
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.modalities import Modalities
from magms_nnunet.model.model import TrainedModel
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet
from magms_nnunet.trainers import AnySubsetTrainer, HeMISTrainer, MAGMSTrainer
from tests.trainers.conftest import CHANNELS, LABELS, plans

M = Modalities(tuple(CHANNELS.values()))
SYSTEMS = [
    (AnySubsetTrainer, None),
    (MAGMSTrainer, None),
    (HeMISTrainer, None),
    (nnUNetTrainer, "zero"),
    (nnUNetTrainer, "mean"),
]
systems = pytest.mark.parametrize(("trainer_class", "fill"), SYSTEMS)


def trained(trainer_class, tmp_path, folds=1, dim=3, extra=0) -> TrainedModel:
    """A model with random weights of its own for every fold; ``extra``: channels of a cascade's previous stage."""
    content = plans(dim)
    if extra:
        content["configurations"]["tiny"]["previous_stage"] = "lowres"
    manager = PlansManager(content)
    networks = [
        trainer_class.build_network_architecture(
            manager, manager.get_configuration("tiny"), len(M) + extra, len(LABELS), enable_deep_supervision=False
        )
        for _ in range(folds)
    ]
    return TrainedModel(
        folder=tmp_path,
        plans=content,
        dataset_json={"labels": LABELS, "file_ending": ".nii.gz", "channel_names": CHANNELS},
        modalities=M,
        trainer=trainer_class.__name__,
        configuration="tiny",
        folds=tuple(range(folds)),
        checkpoint="checkpoint_final.pth",
        network=networks[0].eval(),
        weights=[copy.deepcopy(network.state_dict()) for network in networks],
        mirror_axes=(0,),
        fingerprint="0",
    )


def predictor_of(trainer_class, fill, tmp_path, **options) -> Predictor:
    return Predictor(trained(trainer_class, tmp_path, **options), device="cpu", fill=fill)


def case(extra=0, dim=3):
    """Larger than one tile, and not by a whole number of them."""
    shape = (18, 16, 21) if dim == 3 else (3, 18, 21)
    return torch.randn(len(M) + extra, *shape)


def part_of(data, subset):
    return torch.cat((data[list(subset)], data[len(M) :]))


@systems
@pytest.mark.parametrize("options", [{}, {"dim": 2}, {"folds": 2}, {"extra": 2}], ids=str)
def test_a_sweep_gives_the_logits_of_each_subset_alone(trainer_class, fill, options, tmp_path):
    predictor = predictor_of(trainer_class, fill, tmp_path, **options)
    data = case(options.get("extra", 0), options.get("dim", 3))
    swept = list(predictor.sweep_logits(data, M.subsets()))
    assert [subset for subset, _ in swept] == M.subsets()
    for subset, logits in swept:
        assert logits.shape == (len(LABELS), *data.shape[1:])
        assert torch.equal(logits, predictor.predict_logits(part_of(data, subset), subset)), subset
    assert len({float(logits.float().sum()) for _, logits in swept}) == 7  # none is another one's


def test_folds_are_averaged(tmp_path):
    predictor = predictor_of(MAGMSTrainer, None, tmp_path, folds=2)
    data = case()
    both = dict(predictor.sweep_logits(data, M.subsets()))
    weights = list(predictor.model.weights)
    apart = []
    for fold in weights:
        predictor.model.weights[:] = [fold]
        apart.append(dict(predictor.sweep_logits(data, M.subsets())))
    for subset, logits in both.items():
        assert not torch.equal(apart[0][subset], apart[1][subset])
        torch.testing.assert_close(logits, (apart[0][subset] + apart[1][subset]) / 2, rtol=0, atol=2e-3)  # float16


@pytest.mark.parametrize("trainer_class", [MAGMSTrainer, HeMISTrainer])
@pytest.mark.parametrize(("bytes_", "turns"), [(None, 1), (2, 4), (0.5, 7)])
def test_subsets_whose_logits_do_not_fit_are_done_in_turns(trainer_class, bytes_, turns, tmp_path, monkeypatch):
    predictor, data, networks = predictor_of(trainer_class, None, tmp_path), case(), []
    expected = dict(predictor.sweep_logits(data, M.subsets()))
    if bytes_ is not None:  # in logits of a subset: three classes in float16
        monkeypatch.setattr(module, "_SWEEP_BYTES", int(bytes_ * 3 * data[0].numel() * 2))
    sweep_network = module.SweepNetwork
    monkeypatch.setattr(module, "SweepNetwork", lambda *args, **kw: networks.append(args) or sweep_network(*args, **kw))
    swept = list(predictor.sweep_logits(data, M.subsets()))
    assert len(networks) == turns
    assert [subset for subset, _ in swept] == M.subsets()
    assert all(torch.equal(logits, expected[subset]) for subset, logits in swept)


def test_a_fast_sweep_agrees_up_to_rounding_and_says_so_in_its_settings(tmp_path):
    data = torch.randn(len(M), 32, 32, 32)
    model = trained(MAGMSTrainer, tmp_path)
    exact, fast = Predictor(model, device="cpu"), Predictor(model, device="cpu", fast_sweep=True)
    swept = dict(exact.sweep_logits(data, M.subsets()))
    for subset, logits in fast.sweep_logits(data, M.subsets()):
        torch.testing.assert_close(logits, swept[subset], rtol=1e-3, atol=2e-3)  # a step of float16
    assert fast.settings == exact.settings | {"fast_sweep": True}


def test_the_order_of_subsets_is_the_callers(tmp_path):
    predictor, data = predictor_of(MAGMSTrainer, None, tmp_path), case()
    subsets = [(0, 1, 2), (1,), (0, 2)]
    swept = list(predictor.sweep_logits(data, subsets))
    assert [subset for subset, _ in swept] == subsets
    assert torch.equal(swept[1][1], predictor.predict_logits(data[1:2], (1,)))


@systems
@pytest.mark.parametrize("poison", [float("nan"), 1e4])
def test_a_poisoned_channel_reaches_no_subset_without_it(trainer_class, fill, poison, tmp_path):
    """Mean filling over all channels of a case, as in the authors' published code, would let it through."""
    predictor, data = predictor_of(trainer_class, fill, tmp_path), case()
    without = [(0,), (2,), (0, 2)]
    expected = dict(predictor.sweep_logits(data, without))
    data[1] = poison
    for subset, logits in predictor.sweep_logits(data, without):
        assert torch.isfinite(logits).all()
        assert torch.equal(logits, expected[subset])


def test_a_sweep_encodes_each_modality_once_per_tile_and_mirroring(tmp_path):
    predictor, data, calls = predictor_of(MAGMSTrainer, None, tmp_path), case()[:, :16, :16, :16], [0] * 3
    network = predictor.model.network
    assert isinstance(network, MultiEncoderUNet)
    for m, encoder in enumerate(network.encoders):
        encoder.register_forward_hook(lambda *_, m=m: calls.__setitem__(m, calls[m] + 1))
    list(predictor.sweep_logits(data, M.subsets()))
    assert calls == [2, 2, 2]  # one tile, and mirrored along one axis; one by one it would be 8 each
    for subset in M.subsets():
        predictor.predict_logits(data[list(subset)], subset)
    assert calls == [10, 10, 10]


def test_a_stock_network_needs_all_or_a_filling(tmp_path):
    predictor, data = predictor_of(nnUNetTrainer, None, tmp_path), case()
    complete = predictor.predict_logits(data, (0, 1, 2))
    with pytest.raises(InputError, match=r"nnUNetTrainer needs all modalities and there is no T1: .*--fill zero"):
        predictor.predict_logits(data[[0, 2]], (0, 2))
    with pytest.raises(InputError, match="there is no FLAIR"):
        list(predictor.sweep_logits(data, [(0, 1, 2), (1, 2)]))
    for fill in ("zero", "mean"):
        filled = Predictor(predictor.model, device="cpu", fill=fill)
        assert torch.equal(filled.predict_logits(data, (0, 1, 2)), complete)
        assert filled.settings == {"step_size": 0.5, "mirroring": True, "fill": fill}


def test_zero_filling_is_a_case_with_zeros(tmp_path):
    predictor, data = predictor_of(nnUNetTrainer, "zero", tmp_path), case()
    with_zeros = data.clone()
    with_zeros[1] = 0
    expected = predictor.predict_logits(with_zeros, (0, 1, 2))
    assert torch.equal(predictor.predict_logits(data[[0, 2]], (0, 2)), expected)


@pytest.mark.parametrize("trainer_class", [AnySubsetTrainer, MAGMSTrainer, HeMISTrainer])
def test_a_network_that_takes_subsets_is_not_filled(trainer_class, tmp_path):
    model = trained(trainer_class, tmp_path)
    assert "fill" not in Predictor(model, device="cpu").settings
    with pytest.raises(InputError, match=f"{trainer_class.__name__} takes any subset as it is: leave out --fill"):
        Predictor(model, device="cpu", fill="zero")


@pytest.mark.parametrize(("trainer_class", "fill"), [(MAGMSTrainer, None), (nnUNetTrainer, "zero")])
def test_calls_in_several_threads_get_what_they_asked_for(trainer_class, fill, tmp_path):
    """Of one predictor and of two that share a model, whose folds take turns in one network."""
    model = trained(trainer_class, tmp_path, folds=2)
    first, second = (Predictor(model, device="cpu", fill=fill, mirroring=False) for _ in range(2))
    data, subsets = case()[:, :16, :16, :16], M.subsets()  # a tile
    alone = {subset: first.predict_logits(part_of(data, subset), subset) for subset in subsets}
    with ThreadPoolExecutor(4) as threads:
        calls = [
            (subset, threads.submit(predictor.predict_logits, part_of(data, subset), subset))
            for subset in subsets
            for predictor in (first, second)
        ]
        sweeps = [threads.submit(lambda: dict(first.sweep_logits(data, subsets))) for _ in range(2)]
    for subset, call in calls:
        assert torch.equal(call.result(), alone[subset]), subset
    for sweep in sweeps:
        assert all(torch.equal(logits, alone[subset]) for subset, logits in sweep.result().items())


def test_predictors_made_in_two_threads_leave_stdout_where_it_was(tmp_path, monkeypatch):
    second_began, first_ended, stdout = Event(), Event(), sys.stdout

    class Slow(module.SlidingWindow):
        def __init__(self, **options):
            super().__init__(**options)
            if current_thread() is first:
                second_began.wait(0.5)
            else:
                second_began.set()
                first_ended.wait(5)

    monkeypatch.setattr(module, "SlidingWindow", Slow)
    model = trained(MAGMSTrainer, tmp_path)
    first, second = (Thread(target=Predictor, args=(model,), kwargs={"device": "cpu"}) for _ in range(2))
    first.start()
    sleep(0.1)
    second.start()
    first.join()
    first_ended.set()
    second.join()
    assert sys.stdout is stdout
