"""Changes to bytes, JSON, lines of text, NIfTI headers and DICOM elements, drawn from a seed."""

from __future__ import annotations

import copy
import gzip
import json
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = [
    "EVIL_TEXTS",
    "bytes_changed",
    "each_value_replaced",
    "json_changed",
    "json_of",
    "lines_changed",
    "nifti_changed",
    "safetensors_changed",
    "tree_changed",
]

Change = Callable[[random.Random, bytes], bytes]

NUMBERS = (0, -1, 1, 2**31 - 1, -(2**31), 2**32, 2**63, 10**400, 1e308, -1e-308, 0.5)
#: paths out of the folder, letters that are none, and what is read as something else
EVIL_TEXTS = (
    "",
    " ",
    "../../outside/secret",
    "/etc/hostname",
    "..",
    ".",
    "~/secret",
    "file:///etc/hostname",
    "con\0trol",
    "\x1b[31m\r\n\t",
    "\u202eesrever\u0300\u0301",
    "\U0001f9b4" * 50,
    "a" * 100_000,
    "nan",
    "-inf",
    "1e999",
    "<script>alert(1)</script>",
    "=HYPERLINK(1)",
    "%03d",
    "{0.__class__}",
)
#: what JSON texts may hold that Python's values do not
RAW_JSON = ("NaN", "Infinity", "1e999", "9" * 5000, '"\\ud800"', "[" * 50_000, '{"a":' * 50_000)
VALUES: tuple[Any, ...] = (None, True, [], {}, [[]], {"": {}}, [None] * 3, ["a", 1], *NUMBERS)


def bytes_changed(rng: random.Random, content: bytes, other: bytes | None = None) -> bytes:
    """Flip, cut, repeat, insert or exchange bytes, once or a few times."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at, kind = rng.randrange(len(changed) + 1), rng.randrange(8)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1 and changed:
            changed[at % len(changed)] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
        elif kind == 2:
            del changed[at:]
        elif kind == 3:
            del changed[at : at + rng.choice((1, 2, 4, 8, 100))]
        elif kind == 4:
            piece = changed[at : at + rng.choice((1, 4, 8, 64))]
            changed[at:at] = piece * rng.choice((1, 2, 100))
        elif kind == 5:
            changed[at:at] = rng.randbytes(rng.choice((1, 2, 4, 300)))
        elif kind == 6:
            form = rng.choice(("<I", ">I", "<H", ">H", "<q", "<f", "<d"))
            piece = struct.pack(form, _number_for(rng, form))
            changed[at : at + len(piece)] = piece
        else:
            source = content if other is None else other
            changed[at:] = source[rng.randrange(len(source) + 1) :]
    return bytes(changed)


def _number_for(rng: random.Random, form: str) -> float | int:
    if form[1] in "fd":
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), -float("inf"), 3e38, 1e-40))
    most = 2 ** (8 * struct.calcsize(form) - (form[1] == "q")) - 1
    return rng.choice((0, 1, most, most // 2, most - 1, rng.randint(0, most)))


def _paths(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _paths(value, (*path, key))


def _replaced(tree: Any, path: Sequence[Any], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(tree)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


def each_value_replaced(tree: Any) -> Iterator[Any]:
    """Put every value of `VALUES` and `EVIL_TEXTS` into every place of a tree, one at a time."""
    for path in _paths(tree):
        for value in (*VALUES, *EVIL_TEXTS):
            yield _replaced(tree, path, value)


def tree_changed(rng: random.Random, tree: Any) -> Any:
    """Replace, take away, add, repeat or exchange values of a tree."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        paths = list(_paths(tree))
        path, kind = rng.choice(paths), rng.randrange(6)
        if kind < 3 or not path:
            tree = _replaced(tree, path, rng.choice((*VALUES, *EVIL_TEXTS)))
            continue
        tree = copy.deepcopy(tree)
        holder: Any = tree
        for key in path[:-1]:
            holder = holder[key]
        if kind == 3:
            del holder[path[-1]]
        elif kind == 4 and isinstance(holder, list):
            holder.extend(holder[:] * (rng.choice((1, 1000)) if len(paths) < 200 else 1))
        elif kind == 4:
            holder[rng.choice(EVIL_TEXTS)] = holder[path[-1]]
        else:
            at: Any = tree
            for key in (other := rng.choice(paths))[: rng.randrange(len(other) + 1)]:
                try:
                    at = at[key]
                except (KeyError, IndexError, TypeError):
                    break
            holder[path[-1]] = copy.deepcopy(at)
    return tree


def json_of(tree: Any) -> bytes:
    """Return a tree as JSON; texts that are no Unicode are escaped."""
    return json.dumps(tree).encode()


def json_changed(rng: random.Random, content: bytes) -> bytes:
    """Change the values of a JSON text, put in what only texts can hold, or change its bytes."""
    kind = rng.randrange(10)
    if kind < 6:
        return json_of(tree_changed(rng, json.loads(content)))
    if kind < 8:
        mark = "\x01mark\x01"
        tree = json.loads(content)
        path = rng.choice(list(_paths(tree)))
        return json_of(_replaced(tree, path, mark)).replace(
            json_of(mark), rng.choice(RAW_JSON).encode()
        )
    if kind == 8:
        text = content.decode()
        return rng.choice(
            (
                b"",
                b"null",
                b"\xef\xbb\xbf" + content,
                text.encode("utf-16"),
                content + content,
                text.replace('"', "'").encode(),
                content.replace(b"{", b'{"a": 1, "a": 2, '),
            )
        )
    return bytes_changed(rng, content)


def lines_changed(
    rng: random.Random, content: bytes, values: Sequence[str], *, marks: str = "=:"
) -> bytes:
    """Change ``name = value`` or ``name: value`` lines: other values, twice, away, in disorder."""
    lines = content.decode("latin-1").split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, kind = rng.randrange(len(lines)), rng.randrange(8)
        found = next((mark for mark in marks if mark in lines[at]), None)
        if kind < 5 and found:
            name, _, there = lines[at].partition(found)
            words = there.split(" ")
            if kind < 3:
                words[rng.randrange(len(words))] = rng.choice(values)
                lines[at] = f"{name}{found}{' '.join(words)}"
            else:
                lines[at] = f"{name}{found} {rng.choice(values)}"
        elif kind == 5:
            del lines[at]
            lines = lines or [""]
        elif kind == 6:
            lines.insert(rng.randrange(len(lines)), lines[at])
        else:
            lines[at] = rng.choice(values)
    return "\n".join(lines).encode("utf-8" if rng.random() < 0.9 else "utf-16")


#: of a NIfTI-1 header: where a field is, and how it is packed
NIFTI = (
    (0, "i"), (39, "B"), *((40 + 2 * n, "h") for n in range(8)), (68, "h"), (70, "h"), (72, "h"),
    *((76 + 4 * n, "f") for n in range(8)), (108, "f"), (112, "f"), (116, "f"), (123, "B"),
    (252, "h"), (254, "h"), *((256 + 4 * n, "f") for n in range(18)), (344, "I"), (348, "I"),
)  # fmt: skip
NIFTI_2 = (
    (0, "i"), (12, "h"), (14, "h"), *((16 + 8 * n, "q") for n in range(8)),
    *((104 + 8 * n, "d") for n in range(8)), (168, "q"), (176, "d"), (184, "d"), (344, "i"),
    (348, "i"), *((352 + 8 * n, "d") for n in range(18)), (500, "i"), (504, "i"), (540, "I"),
)  # fmt: skip


def nifti_changed(rng: random.Random, content: bytes) -> bytes:
    """Set fields of the header to extremes, change bytes, or wrap it in gzip that lies."""
    packed = content[:2] == b"\x1f\x8b"
    plain = bytearray(gzip.decompress(content) if packed else content)
    fields = NIFTI_2 if plain[0] == 0x1C or plain[3] == 0x1C else NIFTI
    kind = rng.randrange(10)
    if kind < 6:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at, form = rng.choice(fields)
            # little and big endian are both read
            code = rng.choice("<>") + form
            low = -1 if form in "hiq" else 0
            most = 2 ** (8 * struct.calcsize(code) - (low < 0)) - 1
            struct.pack_into(
                code,
                plain,
                at,
                rng.choice((0.0, -1.0, 1e-30, 3e38, float("nan"), float("inf"), -2.5, 350.0))
                if form in "fd"
                else rng.choice((0, 1, 2, 4, most, most // 2, low, rng.randint(0, most))),
            )
    elif kind < 8:
        plain = bytearray(bytes_changed(rng, bytes(plain)))
    elif kind == 8:
        return bytes_changed(rng, content)
    else:  # zeros without end behind it
        plain += bytes(rng.choice((1, 2**16, 2**22)))
    if not packed:
        return bytes(plain)
    whole = gzip.compress(bytes(plain), 1, mtime=0)
    return rng.choice((whole, whole, whole, whole + whole, whole[:-8], bytes(plain)))


def safetensors_changed(rng: random.Random, content: bytes) -> bytes:
    """Change the header of a safetensors file, its length, or its bytes."""
    (length,) = struct.unpack_from("<Q", content)
    header, rest = content[8 : 8 + length], content[8 + length :]
    kind = rng.randrange(8)
    if kind < 5:
        header = json_changed(rng, header.rstrip(b" "))
    elif kind == 5:
        rest = bytes_changed(rng, rest)
    elif kind == 6:
        return bytes_changed(rng, content)
    length = (
        len(header) if kind < 7 else rng.choice((0, 2**63, 2**64 - 1, len(content), length - 1))
    )
    return struct.pack("<Q", length) + header + rest
