"""Calls beside the network: results in order, and few of them waiting."""

from concurrent.futures import Future

from magms_nnunet.inference.pipeline import Pending


def test_results_are_taken_in_order_and_no_more_calls_wait_than_the_limit():
    taken = []
    pending = Pending(2, lambda case, future: taken.append((case, future.result())))
    for number, case in enumerate("abcd"):
        future = Future()
        future.set_result(number)
        pending.add(case, future)
    assert taken == [("a", 0), ("b", 1)]
    pending.finish()
    assert taken == [("a", 0), ("b", 1), ("c", 2), ("d", 3)]


def test_without_a_limit_above_0_each_result_is_taken_at_once():
    taken = []
    pending = Pending(0, taken.append)
    pending.add("a")
    assert taken == ["a"]
