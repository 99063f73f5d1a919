"""Names of modalities: what is written is read back, in any order, by name, by number and in any case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magms_nnunet.errors import InputError
from magms_nnunet.modalities import Modalities
from tests.properties.images import NAMES, channels

words = st.text(st.characters(categories=("Lu", "Ll", "Nd", "Zs", "Po", "Sm")), max_size=12)


@st.composite
def requests(draw):
    """A model's modalities, a subset of them in some order, and a spelling for each."""
    modalities = Modalities(NAMES[: draw(st.integers(1, len(NAMES)))])
    subset = draw(channels(len(modalities)))
    spellings = [
        draw(st.sampled_from((str.lower, str.upper, str, str.swapcase)))(modalities.names[channel])
        if draw(st.booleans())
        else str(channel)
        for channel in subset
    ]
    return modalities, subset, spellings


@given(requests())
def test_any_spelling_in_any_order_is_the_same_subset(request):
    modalities, subset, spellings = request
    assert modalities.parse(spellings) == tuple(sorted(subset))
    assert modalities.parse(modalities.format(sorted(subset)).split("+")) == tuple(sorted(subset))


@given(requests(), st.data())
def test_what_is_given_twice_is_refused_wherever_it_stands(request, data):
    modalities, subset, spellings = request
    again = data.draw(st.sampled_from(subset))
    place = data.draw(st.integers(0, len(spellings)))
    with pytest.raises(InputError, match="twice"):
        modalities.parse([*spellings[:place], modalities.names[again], *spellings[place:]])


@given(st.lists(words, max_size=8), st.lists(words, max_size=8))
def test_any_words_are_a_subset_or_one_line_of_our_own(names, tokens):
    """Names of modalities come from a file that a stranger may have written."""
    modalities = Modalities(tuple(names))
    refused = None
    try:
        subset = modalities.parse(tokens)
    except InputError as error:
        subset, refused = (), str(error)
    assert refused is None or len(refused.splitlines()) == 1
    assert subset == tuple(sorted(set(subset)))
    assert set(subset) <= set(range(len(names)))


@given(st.integers(1, 8))
def test_a_sweep_has_every_subset_once(count):
    subsets = Modalities(NAMES[:count]).subsets()
    assert len(subsets) == len(set(subsets)) == 2**count - 1
    assert [len(subset) for subset in subsets] == sorted(len(subset) for subset in subsets)
