"""Damage, from a seed: the same seed gives the same damage."""

import copy
import json
import random
import struct

HEADER = 352  # bytes of a NIfTI-1 header with its extension flag
# Fields of the header (offset, format): sizes, type, position of the voxels, spacing, scaling, codes, affine, magic.
FIELDS = [
    *((offset, "h") for offset in range(40, 56, 2)),
    (0, "i"),
    (70, "h"),
    (72, "h"),
    (108, "f"),
    *((offset, "f") for offset in range(76, 108, 4)),
    (112, "f"),
    (116, "f"),
    (123, "B"),
    (252, "h"),
    (254, "h"),
    *((offset, "f") for offset in range(256, 328, 4)),
    (344, "4s"),
    (348, "4s"),
]
EXTREMES = {
    "h": (-32768, -1, 0, 1, 2, 7, 255, 2304, 32767),
    "i": (-(2**31), -1, 0, 540, 2**31 - 1),
    "B": (0, 1, 3, 255),
    "f": (0.0, -1.0, 1e-30, 0.001, 1000.0, 1e30, -1e30, float("nan"), float("inf")),
    "4s": (b"n+2\0", b"ni1\0", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\0\0\0"),
}
VALUES = (
    None,
    True,
    0,
    -1,
    1,
    2.5,
    10**6,
    10**30,
    1e308,
    float("nan"),
    float("-inf"),
    "",
    "0",
    "x" * 5000,
    "../../etc",
    "os.system",
    "nnunetv2.run.run_training.run_training_entry",
    "torch.nn.Module",
    "\ud800",
    [],
    {},
    [[]],
    [None],
    [0] * 1000,
    {"": None},
)


def damage_bytes(content: bytes, seed: int, reach: int) -> bytes:
    """Up to four injuries to the first ``reach`` bytes."""
    rng, damaged = random.Random(seed), bytearray(content)
    for _ in range(rng.randint(1, 4)):
        position = rng.randrange(min(reach, len(damaged)))
        kind = rng.choice(("flip", "overwrite", "zeros", "insert", "remove", "cut"))
        length = rng.randint(1, 16)
        if kind == "flip":
            damaged[position] ^= 1 << rng.randrange(8)
        elif kind == "overwrite":
            damaged[position : position + length] = rng.randbytes(length)
        elif kind == "zeros":
            damaged[position : position + length] = bytes(length)
        elif kind == "insert":
            damaged[position:position] = rng.randbytes(length)
        elif kind == "remove":
            del damaged[position : position + length]
        elif rng.random() < 0.2 and position:  # else there would be nothing but short files
            del damaged[position:]
    return bytes(damaged)


def damage_header(content: bytes, seed: int) -> bytes:
    """One to three fields of a NIfTI header get values that are legal bytes and make no sense."""
    rng, damaged = random.Random(seed), bytearray(content)
    for offset, kind in rng.sample(FIELDS, rng.randint(1, 3)):
        struct.pack_into(f"<{kind}", damaged, offset, rng.choice(EXTREMES[kind]))
    return bytes(damaged)


def damage_json(content: dict, seed: int) -> str:
    """One to three values anywhere become others, go, or move a level down; seldom the text itself is damaged."""
    rng, damaged = random.Random(seed), copy.deepcopy(content)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(damaged))
        if not places:
            break
        container, key = rng.choice(places)
        kind = rng.choice(("replace", "replace", "replace", "remove", "wrap", "repeat"))
        if kind == "replace":
            container[key] = copy.deepcopy(rng.choice(VALUES))
        elif kind == "remove":
            del container[key]
        elif kind == "wrap":
            container[key] = [container[key]]
        elif isinstance(container, list):
            container.append(container[key])
        else:
            container[f"{key}2"] = container[key]
    text = json.dumps(damaged)
    if rng.random() < 0.05:
        text = damage_bytes(text.encode(), seed, len(text)).decode(errors="replace")
    return "[" * 100_000 if rng.random() < 0.01 else text


def _places(content):
    """Every (container, key) of nested objects and lists."""
    for key in content if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])
