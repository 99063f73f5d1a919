"""Peak memory of a training step and its time, as ratios to nnU-Net on the same plans, batch and machine.

    python benchmarks/memory.py [--patch 48] [--modalities 4] [--device cuda] [--compile both] [--json FILE]

The peak is that of torch's allocator during a whole step (forward, loss, backward, clip, update), weights and momentum
included; not what the libraries themselves take, nor what an allocator holds in reserve.
"""

import argparse
from collections.abc import Callable, Iterator

import harness
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

PEAK = "peak memory"
TARGETS = {harness.ANY_SUBSET: 1.5, harness.EXACT: 3.0, harness.LEAN: 3.0}
TIME_TARGET = 1.25  # of what saves memory, to the time of all students
MIB = 2**20


def main(argv: list[str] | None = None) -> None:
    """Measure and print the table."""
    harness.report(harness.parse(argv, __doc__, blocks=3, repeats=1), benchmark)


def benchmark(args: argparse.Namespace) -> tuple[list[harness.Row], dict]:
    """The rows: the peak, its two parts, and the time of the step."""
    with harness.trainers(args, harness.VARIANTS) as trainers:
        batch = harness.random_batch(args, trainers[harness.STOCK])
        steps = {name: lambda trainer=trainer: trainer.train_step(batch) for name, trainer in trainers.items()}
        operations = harness.count_operations(steps)
        seconds = harness.measure(steps, args)
        peaks, constants = step_memory(trainers, batch)
    rest = {name: [peaks[name][0] - constants[name][0]] for name in peaks}
    rows = harness.compare(PEAK, "MiB", peaks, targets=TARGETS)
    rows += harness.compare("of it weights, momentum, gradients", "MiB", constants)
    rows += harness.compare("of it activations and workspaces", "MiB", rest)
    rows += harness.compare("training step", "s", seconds, operations)
    saving = {name: seconds[name] for name in (harness.EXACT, harness.LEAN)}
    _, lean = harness.compare("training step", "s", saving)
    return rows, {f"time, encoders recomputed to not (target <= {TIME_TARGET})": round(lean.ratio, 3)}


def step_memory(trainers: dict[str, nnUNetTrainer], batch: dict) -> tuple[dict[str, list], dict[str, list]]:
    """Peak of a step and, of it, weights with momentum and gradients: one figure in MiB each per trainer.

    The trainers have done a step before, so that there is a momentum.
    """
    peaks, constants = {}, {}
    for name, trainer in trainers.items():
        trainer.optimizer.zero_grad(set_to_none=True)  # as a step begins
        standing = size(trainer.network.state_dict()) + size(trainer.optimizer.state_dict()["state"])
        above = peak_above_what_lives(lambda trainer=trainer: trainer.train_step(batch), trainer.device)
        peaks[name] = [(standing + above) / MIB]
        constants[name] = [(standing + size([weight.grad for weight in trainer.network.parameters()])) / MIB]
    return peaks, constants


def size(tensors: object) -> int:
    """Bytes of all tensors in a tree of containers; memory that several names share counts once."""
    leaves = torch.utils._pytree.tree_leaves(tensors)
    storages = [leaf.untyped_storage() for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def peak_above_what_lives(call: Callable, device: torch.device) -> int:
    """Most bytes that the call has allocated at any time, beyond those allocated before it.

    On a GPU the allocator keeps this figure. On a CPU it is the largest running sum over all allocations and frees,
    which the profiler records; the process's resident memory would count what malloc keeps for later as well.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    tree = profiler.profiler.kineto_results.experimental_event_tree()
    events = [event.extra_fields for event in sorted(_allocations(tree), key=lambda event: event.start_time_ns)]
    blocks: dict[int, int] = {}  # those of this call: the profiler may take others for an earlier measurement's
    standing = peak = 0
    for event in events:
        if event.alloc_size > 0:
            blocks[event.ptr] = event.alloc_size
            standing += event.alloc_size
        else:
            standing -= blocks.pop(event.ptr, 0)
        peak = max(peak, standing)
    return peak


def _allocations(events: list) -> Iterator:
    for event in events:
        if event.tag == _EventType.Allocation:
            yield event
        yield from _allocations(event.children)


if __name__ == "__main__":
    main()
