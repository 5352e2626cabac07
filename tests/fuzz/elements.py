"""A DICOM file as a tree of its elements, changed and written again, lies and all."""

from __future__ import annotations

import copy
import io
import random
import struct
from dataclasses import dataclass, field

import pydicom
from pydicom.dataelem import RawDataElement

from .mutations import bytes_changed

__all__ = ["dicom_changed"]

LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV")
VRS = (b"DS", b"IS", b"US", b"SS", b"FD", b"FL", b"SQ", b"UI", b"LO", b"PN", b"OB", b"OW", b"UN",
       b"AT", b"DA", b"TM", b"CS", b"UT", b"??", b"\0\0")  # fmt: skip
TEXTS = (b"", b" ", b"0", b"-1", b"2147483647", b"65535", b"99999999999999999999", b"NaN", b"inf",
         b"1e999", b"-0.0", b"1e-300", b"1\\2\\3", b"\\", b"\\\\\\\\\\\\", b"a" * 70_000,
         b"\xff\xfe", b"\x1b$B", b"../../outside/secret", b"20240230", b"240000", b"1.2.3",
         b"1" * 5000, b"0\\0\\0", b"0\\0\\0\\0\\0\\0", b"1e5\\0\\0", b"\0" * 64)  # fmt: skip
BINARY = (b"\0\0", b"\1\0", b"\xff\xff", b"\0\x80", b"\xff\x7f", b"\0" * 4, b"\xff" * 4,
          b"\x7f", b"", b"\0\0\xc0\x7f", b"\0" * 6 + b"\xf8\x7f", b"\x08\0",
          b"\x10\0", b"\x20\0")  # fmt: skip
LENGTHS = (0, 1, 2, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)


@dataclass
class Element:
    """One element: a value, or items of elements; `lie` is the length that it claims instead."""

    tag: int
    vr: bytes
    value: bytes = b""
    items: list[list[Element]] | None = None
    lie: int | None = None


@dataclass
class Tree:
    """A file: its meta information, and its data set in little endian, explicit or implicit."""

    meta: list[Element]
    data: list[Element]
    explicit: bool = True
    preamble: bytes = field(default=b"\0" * 128 + b"DICM")


def dicom_changed(rng: random.Random, content: bytes) -> bytes:
    """Change elements of a DICOM file, or its bytes."""
    if rng.random() < 0.25:
        return bytes_changed(rng, content)
    tree = _tree(content)
    if tree is None:
        return bytes_changed(rng, content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(rng, tree)
    return _written(tree)


def _tree(content: bytes) -> Tree | None:
    dataset = pydicom.dcmread(io.BytesIO(content))
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_deflated or not syntax.is_little_endian:
        return None
    explicit = not syntax.is_implicit_VR
    return Tree(_elements(dataset.file_meta), _elements(dataset), explicit)


def _elements(dataset: pydicom.Dataset) -> list[Element]:
    found = []
    for tag in sorted(dataset.keys()):
        raw = dataset.get_item(tag)
        vr = (raw.VR or dataset[tag].VR).split(" ")[0].encode()
        if vr == b"SQ":
            found.append(Element(int(tag), vr, items=[_elements(i) for i in dataset[tag].value]))
        elif isinstance(raw, RawDataElement):
            lie = 0xFFFFFFFF if raw.length == 0xFFFFFFFF else None
            found.append(Element(int(tag), vr, raw.value or b"", lie=lie))
        else:
            value = dataset[tag].value
            found.append(Element(int(tag), vr, value if isinstance(value, bytes) else b""))
    return found


def _lists(elements: list[Element]) -> list[list[Element]]:
    found = [elements]
    for holder in found:  # which grows
        found += [item for element in holder for item in element.items or ()]
    return found


def _change(rng: random.Random, tree: Tree) -> None:
    holders = [h for h in _lists(tree.data) if h] or [tree.data]
    # the data set's own elements as often as those of all its items together
    holder = rng.choice((tree.data, tree.data, rng.choice(holders), rng.choice(holders), tree.meta))
    if not holder:
        return
    at = rng.randrange(len(holder))
    element, kind = holder[at], rng.randrange(14)
    if kind < 5:
        like = BINARY if element.vr in (b"US", b"SS", b"FD", b"FL", b"OW", b"OB", b"AT") else TEXTS
        element.value, element.items = rng.choice(like if rng.random() < 0.9 else TEXTS), None
    elif kind == 5:
        del holder[at]
    elif kind == 6:
        holder.insert(rng.randrange(len(holder)), element)
    elif kind == 7:
        element.vr = rng.choice(VRS)
    elif kind == 8:
        element.lie = rng.choice((*LENGTHS, len(element.value) + 2, max(0, len(element.value) - 2)))
    elif kind == 9 and element.items:
        element.items = rng.choice(([], [[]], element.items[:1], element.items * 2))
    elif kind == 9:
        element.value = bytes_changed(rng, element.value)
    elif kind == 10:  # a sequence in a sequence in a sequence
        inner = [element]
        for _ in range(rng.choice((1, 10, 200, 1500))):
            inner = [Element(element.tag, b"SQ", items=[inner])]
        holder[at] = inner[0]
    elif kind == 11:
        other = rng.choice(tree.data)
        if len(_lists([other])) > 200:  # deep: copying it would end in Python's own recursion
            return
        other = copy.deepcopy(other)
        element.value, element.items = other.value, other.items
    elif kind == 12:
        element.tag = rng.choice((0x00280010, 0x7FE00010, 0x00020010, 0xFFFEE000, 0xFFFEE0DD, 0,
                                  0xFFFFFFFF, 0x70531000, 0x00091001))  # fmt: skip
    else:
        tree.explicit = not tree.explicit


def _written(tree: Tree) -> bytes:
    return tree.preamble + _bytes(tree.meta, explicit=True) + _bytes(tree.data, tree.explicit)


def _bytes(elements: list[Element], explicit: bool) -> bytes:
    # innermost first without recursion: nests may be deep
    done: dict[int, bytes] = {}
    todo: list[tuple[Element, bool]] = [(element, False) for element in elements]
    while todo:
        element, ready = todo.pop()
        if id(element) in done:
            continue
        if element.items and not ready:
            todo.append((element, True))
            todo += [(inner, False) for item in element.items for inner in item]
            continue
        value = element.value
        if element.items is not None:
            parts = [b"".join(done[id(inner)] for inner in item) for item in element.items]
            value = b"".join(
                struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in parts
            )
        value += b"\0" * (len(value) % 2)
        done[id(element)] = _head(element, len(value), explicit) + value
    return b"".join(done[id(element)] for element in elements)


def _head(element: Element, length: int, explicit: bool) -> bytes:
    length = length if element.lie is None else element.lie
    tag = struct.pack("<HH", element.tag >> 16, element.tag & 0xFFFF)
    if not explicit:
        return tag + struct.pack("<I", length)
    if element.vr in LONG:
        return tag + element.vr + b"\0\0" + struct.pack("<I", length)
    return tag + element.vr + struct.pack("<H", min(length, 0xFFFF))
