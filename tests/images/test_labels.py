import numpy as np
import pytest

from magms_nnunet.images.labels import format_values, fractional_note, whole_labels


def test_rounding_is_undone_and_nothing_else():
    labels = np.array([0, np.float32(0.99999994), 2.0000002, 1.5, 2.9999, np.nan], np.float32)
    np.testing.assert_array_equal(whole_labels(labels), np.array([0, 1, 2, 1.5, 2.9999, np.nan], np.float32))


def test_whole_numbers_stay_as_they_are():
    labels = np.arange(5, dtype=np.uint8)
    assert whole_labels(labels) is labels


@pytest.mark.parametrize(
    ("values", "text", "note"),
    [
        ([1, 2.0], "1, 2", ""),
        ([0.9999], "0.9999", " (not whole numbers)"),
        ([*range(10)], "0, 1, 2, 3, 4, 5, 6, 7 and 2 more", ""),
    ],
)
def test_labels_in_a_message(values, text, note):
    assert (format_values(values), fractional_note(values)) == (text, note)
