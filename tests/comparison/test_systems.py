import json

import pytest

from magms_nnunet.comparison.systems import read_systems
from magms_nnunet.errors import InputError
from tests.evaluation.evaluation_folder import write_evaluation

DICE = {"FLAIR": {"a": 0.5, "b": 0.6}, "T1c": {"a": 0.7, "b": 0.8}, "FLAIR+T1c": {"a": 0.75, "b": 0.85}}


@pytest.fixture
def folder(tmp_path):
    return write_evaluation(tmp_path / "ours", DICE)


def part(tmp_path, name, subsets, **run):
    return write_evaluation(tmp_path / name, {subset: DICE[subset] for subset in subsets}, **run)


def test_a_system_of_one_folder_is_called_like_it(folder):
    modalities, (system,) = read_systems([str(folder)])
    assert (modalities.names, system.name, system.cases) == (("FLAIR", "T1c"), "ours", {"a", "b"})
    assert system.entropy is None


def test_individual_models_are_one_system_in_the_order_of_the_largest(tmp_path, folder):
    parts = [
        part(tmp_path, "one", ["FLAIR"], modalities=["FLAIR"]),
        part(tmp_path, "two", ["T1c"], modalities=["T1c"]),
        write_evaluation(tmp_path / "both", {"T1c+FLAIR": DICE["FLAIR+T1c"]}, modalities=["T1c", "FLAIR"]),
    ]
    _, (ours, individual) = read_systems([str(folder), f"one per subset={','.join(map(str, parts))}"])
    assert individual.name == "one per subset"
    assert individual.cases == {"a", "b"}
    columns = ["case", "subset", "dice"]
    assert individual.scores[columns].values.tolist() == ours.scores[columns].values.tolist()


def test_a_folder_may_have_equals_and_commas_in_its_name(tmp_path):
    odd = write_evaluation(tmp_path / "lr=1,wd=2", DICE)
    _, systems = read_systems([str(odd), f"named={odd}"])
    assert [system.name for system in systems] == ["lr=1,wd=2", "named"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda p: write_evaluation(p / "other", DICE, protocol="absent"), "differ in protocol: masked and absent"),
        (lambda p: write_evaluation(p / "other", DICE, regions={"whole": [1, 2]}), "differ in regions"),
        (lambda p: write_evaluation(p / "other", {"CT": DICE["T1c"]}, modalities=["CT"]), "CT is none of the modalit"),
        (lambda p: write_evaluation(p / "x/ours", DICE), "two systems are called 'ours'"),
        (lambda p: p / "nowhere", "no folder .*nowhere"),
        (lambda p: "name=", "names no folder"),
    ],
)
def test_what_cannot_be_compared(tmp_path, folder, other, message):
    with pytest.raises(InputError, match=message) as caught:
        read_systems([str(folder), str(other(tmp_path))])
    assert "\n" not in str(caught.value)


def test_a_case_and_subset_twice_in_a_system(tmp_path, folder):
    again = part(tmp_path, "again", ["T1c"], modalities=["T1c"])
    with pytest.raises(InputError, match=r"x: a from T1c is in .*ours and in .*again"):
        read_systems([f"x={folder},{again}"])


def test_another_reference(tmp_path, folder):
    other = write_evaluation(tmp_path / "other", DICE)
    scores = other / "scores.csv"
    scores.write_text(scores.read_text().replace("8.0,8.0", "9.0,8.0"))
    with pytest.raises(InputError, match=r"a: the reference of whole has 8 mm3 in .*ours and 9 mm3 in .*other"):
        read_systems([str(folder), str(other)])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "run.json").unlink(), "no run.json in .*ours: is it a folder of magms_evaluate"),
        (lambda f: (f / "scores.csv").unlink(), "no scores.csv in .*ours"),
        (lambda f: (f / "run.json").write_text("{"), "run.json is not valid JSON"),
        (lambda f: (f / "run.json").write_text("[]"), "run.json must hold a JSON object"),
        (lambda f: change(f, "protocol", None), "run.json: protocol is missing"),
        (lambda f: change(f, "cases", [[1]]), r"run.json: cases must be a list of names, got \[\[1\]\]: evaluate"),
        (lambda f: change(f, "model", {"sha256": [1]}), "run.json: model must be an object with name, dataset"),
        (lambda f: change(f, "modalities", [1]), "run.json: modalities must be a list of names"),
        (lambda f: change(f, "subsets", [{}]), "run.json: subsets must be a list of names"),
        (lambda f: change(f, "regions", {"whole": 1}), "run.json: regions must be an object of lists of labels"),
        (lambda f: change(f, "settings", ["x"]), "run.json: settings must be an object"),
        (lambda f: change(f, "training", 7), "run.json: training must be an object"),
        (lambda f: change(f, "cases", ["a", "b", "c"]), "lacks 3 of 9 predictions .* the first c from FLAIR"),
        (lambda f: change(f, "cases", ["a"]), "has b from FLAIR, which run.json does not list"),
        (lambda f: change(f, "regions", {"core": [2]}), "has the regions whole, run.json core"),
        (lambda f: change(f, "modalities", ["FLAIR", "T2"]), "'FLAIR.T1c' is no subset of FLAIR, T2"),
        (lambda f: cut(f / "scores.csv"), "lacks 1 of 6 predictions"),
        (lambda f: (f / "entropy.csv").write_text("case,subset,entropy_nats\na,FLAIR,x\n"), "entropy.csv: not a compl"),
        (lambda f: (f / "entropy.csv").write_text("case,subset,entropy_nats\nz,FLAIR,1\n"), "entropy.csv has z from"),
    ],
)
def test_damaged_folders(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        read_systems([str(folder)])
    assert "\n" not in str(caught.value)


def change(folder, key, value):
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {key: value}))


def cut(path):
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
