"""Archives and pickles that nobody's `torch.save` wrote, with checksums made right: what the fuzz is made of."""

import io
import pickletools
import random
import struct
import warnings
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

Members = list[tuple[str, bytes]]


def saved(value: Any) -> Members:
    """Return the members of what torch saves."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def write(path: Path, members: Members) -> Path:
    """Write members as they come, none compressed, each with the right checksum."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # two of one name
        for name, content in members:
            archive.writestr(name, content)
    return path


def with_pickle(members: Members, structure: bytes) -> Members:
    """Return the members with another structure."""
    return [(name, structure if name.endswith("data.pkl") else content) for name, content in members]


def calling(function: str, arguments: bytes, memo: bytes = b"") -> bytes:
    """Return the pickle of {"a": function(arguments)}; the arguments are opcodes that make a tuple."""
    return b"\x80\x02" + memo + b"}X\x01\0\0\0a" + _global(function) + arguments + b"Rs."


def _global(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def text(value: str) -> bytes:
    """Return the opcode of a string."""
    content = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def zoo() -> list[Any]:
    """Return contents of every kind that a checkpoint has, small."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(model.named_parameters())
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    rare = {
        "coo": torch.eye(3).to_sparse(), "csr": torch.eye(3).to_sparse_csr(), "view": torch.arange(10)[2:8:2],
        "turned": torch.arange(6).reshape(2, 3).t(), "float8": torch.ones(3).to(torch.float8_e4m3fn),
        "parameter": torch.nn.Parameter(torch.ones(2)), "empty": torch.empty(0, 3), "scalar": torch.tensor(2.0),
        "conjugated": torch.complex(torch.ones(2), torch.ones(2)).conj(),
    }  # fmt: skip
    plain = {
        "set": {1, 2, "a"}, "counter": Counter("aab"), "ordered": OrderedDict(a=1), "size": torch.Size([2, 3]),
        "dtype": torch.float16, "device": torch.device("cuda", 1), "bytes": b"abc", "bytearray": bytearray(b"x"),
        "complex": 1j, "keys": {torch.float16: 1, (1, 2): 3}, "none": None, "large": 2**80, "tuple": (1, [2.5, "x"]),
    }  # fmt: skip
    general = {"epoch": 1, "model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    return [general, rare, plain, model.state_dict()]


def _operations(structure: bytes) -> list[bytes]:
    """Return the opcodes of a pickle, each with its argument."""
    starts = [position for _, _, position in pickletools.genops(structure)]
    return [structure[a:b] for a, b in zip(starts, [*starts[1:], len(structure)], strict=True)]


_NUMBERS = [0, 1, 2, 3, 255, 2**31 - 1, -1, -(2**31)]
_NAMES = (
    "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3", "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_qtensor", "torch._utils._rebuild_parameter", "torch._tensor._rebuild_from_type_v2",
    "torch._utils._rebuild_meta_tensor_no_storage", "torch._utils._rebuild_wrapper_subclass", "torch.FloatTensor",
    "torch.FloatStorage", "torch.storage.UntypedStorage", "torch.Tensor", "torch.nn.parameter.Parameter", "torch.Size",
    "torch.device", "torch.float64", "torch.int64", "torch.qint8", "torch.per_tensor_affine", "collections.OrderedDict",
    "collections.Counter", "builtins.set", "builtins.bytearray", "builtins.complex", "_codecs.encode", "builtins.bytes",
    "torch.serialization._get_layout", "torch.sparse.FloatTensor", "os.mkdir", "builtins.eval", "posix.system",
)  # fmt: skip
_ANY: list[bytes] = [
    *(b"J" + struct.pack("<i", number) for number in _NUMBERS), *map(_global, _NAMES), text(""), text("cpu"),
    text("0"), text("1"), text("storage"), text("torch.sparse_coo"), text("\ud800"), b"N", b"\x88", b"\x89", b"]", b"}",
    b")", b"\x8f", b"(", b"t", b"\x85", b"\x86", b"\x87", b"a", b"e", b"s", b"u", b"R", b"b", b"\x81", b"Q", b"0", b"2",
    b"h\x01", b"h\x05", b"j\xff\xff\xff\x7f", b"q\x02", b"r\xff\xff\xff\x7f", b"\x8a\xff" + bytes(255), b"\x94",
    b"\x8b\xff\xff\xff\x7f", b"\x82\x01", b"\x93", b"\x91", b"\x90", b"\x92", b"o", b"i" + b"os\nmkdir\n", b"\x97",
    b"G\x7f\xf0" + bytes(6), b"G\x7f\xf8" + bytes(6), b"U\x01a", b"B\x01\0\0\0a", b"P0\n", b"I5\n", b"L5L\n", b".",
    b"\x95" + bytes(8), b"\x8d" + b"\xff" * 8, b"\x80\x05",
]  # fmt: skip


def _edited(chance: random.Random, operations: list[bytes]) -> None:
    at = chance.randrange(len(operations))
    kind = chance.randrange(7)
    if kind == 0:
        del operations[at]
    elif kind == 1:
        operations.insert(at, operations[chance.randrange(len(operations))])
    elif kind == 2:
        other = chance.randrange(len(operations))
        operations[at], operations[other] = operations[other], operations[at]
    elif kind == 3:
        operations[at] = chance.choice(_ANY)
    elif kind == 4:
        operations.insert(at, chance.choice(_ANY))
    else:
        _change_value(chance, operations)


def _change_value(chance: random.Random, operations: list[bytes]) -> None:
    """Change a number, a name or a text, so that the structure stays one."""
    places = [index for index, operation in enumerate(operations) if operation[:1] in b"JKMXc"]
    if not places:
        return
    at = chance.choice(places)
    if operations[at][:1] == b"X":
        others = [operation for operation in operations if operation[:1] == b"X"]
        operations[at] = chance.choice([*others, text("cpu"), text("0"), text("../x"), text("\0"), text("\ud800")])
    elif operations[at][:1] == b"c":
        operations[at] = _global(chance.choice(_NAMES))
    else:
        number = chance.choice([*_NUMBERS, chance.randrange(12)])
        operations[at] = chance.choice(
            [b"J" + struct.pack("<i", number), b"\x8a\x08" + struct.pack("<q", number << 31)]
        )


def edited_pickle(chance: random.Random, members: Members) -> Members:
    """Return the members with a structure in which a few opcodes or arguments are others."""
    structure = next(content for name, content in members if name.endswith("data.pkl"))
    operations = _operations(structure)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        _edited(chance, operations)
    return with_pickle(members, b"".join(operations))


_PLACES = (
    "archive/x/data.pkl", "archive/DATA.PKL", "archive/data.pkl", "archive/extra.json", "archive/data/9",
    "other/data.pkl", "archive/constants.pkl", "archive/.format_version", "archive/.storage_alignment", "archive/sub/",
    "data.pkl", "archive",
    "archive/data/0", "archive/../x", "/archive/data/0", "archive/data.pkl/x", "archive/.data/version", "archive/data",
)  # fmt: skip
_CONTENTS = (b"", b"\x80\x02}.", b"1", b"big", b"little", b"\xff", b"3\n", b"0\n", bytes(64), b"x" * 200)


def edited_members(chance: random.Random, members: Members) -> Members:
    """Return other members: one more, one less, another name, order or size."""
    found, at = list(members), chance.randrange(len(members))
    name, content = found[at]
    kind = chance.randrange(6)
    if kind == 0:
        found.insert(chance.randrange(len(found) + 1), (chance.choice(_PLACES), chance.choice([*_CONTENTS, content])))
    elif kind == 1:
        del found[at]
    elif kind == 2:
        found[at] = (chance.choice([*_PLACES, name.upper(), name[1:]]), content)
    elif kind == 3:
        chance.shuffle(found)
    elif kind == 4:
        found[at] = (name, chance.choice([content[:-1], content + b"\0", content * 2, *_CONTENTS]))
    else:
        found.insert(chance.randrange(len(found) + 1), (name, chance.choice([content, content[::-1]])))
    return found


VALUES: Sequence[Any] = (
    None, True, 0, -1, 2**53, 2**63, 10**400, -(10**400), 0.5, float("nan"), float("inf"), -0.0, "", "x", "\ud800",
    "\x1b[31m", "${oc.env:HOME}", "a" * 5000, b"x", [], [[]], {}, {"a": {"b": [1]}}, {1: 2}, {(1, 2): 3},
    {None: 0}, (1,),
    {"state": 3}, torch.zeros(0), torch.zeros(3), torch.tensor(1), torch.eye(2).to_sparse(), {"a": torch.ones(1)}, 1j,
    OrderedDict(), Counter("aab"), {1, 2}, bytearray(b"x"), torch.float16, torch.device("cpu"), torch.Size([1]),
)  # fmt: skip
_SCRAPS = (
    "[", "{", "]", "}", ":", "- ", "\t", "\n", "\0", "\x85", "&a ", "*a", "!!python/object:os.system", "!!binary ", "%",
    "@",
    "${", "${oc.env:HOME}", "null", "~", "1e999", ".nan", "0x", "1_0", "9" * 400, "true", "yes", "''", '"\\ud800"',
    "_target_",
    "os.system", "runner.models.Mlp", "torch.nn.Linear", "?", "|", ">", "<<: ", "---", "...", "'", "🦊", "2024-01-01",
    "=", "-1",
)  # fmt: skip


def edited_value(chance: random.Random, value: Any) -> Any:
    """Return a nest in which one value, at any depth, is another, absent, or under another key."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key, copy = chance.choice(list(value)), dict(value)
        if chance.random() < 0.15:
            del copy[key]
        elif chance.random() < 0.1:
            copy[chance.choice(["", "x", 3, None, "\ud800", "a.b"])] = copy.pop(key)
        else:
            copy[key] = edited_value(chance, value[key])
        return copy
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], edited_value(chance, value[at]), *value[at + 1 :]]
    return chance.choice(VALUES)


def edited_config(chance: random.Random, config: str) -> str:
    """Return the text of a config with another value, another line, or a scrap somewhere."""
    lines = config.splitlines(keepends=True)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at, kind = chance.randrange(len(lines)), chance.randrange(5)
        key, colon, _ = lines[at].partition(":")
        if kind == 0 and colon:
            lines[at] = f"{key}: {chance.choice(_SCRAPS)}\n"
        elif kind == 1:
            del lines[at]
            lines = lines or ["\n"]
        elif kind == 2:
            lines.insert(at, chance.choice(lines))
        elif kind == 3:
            place = chance.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:place] + chance.choice(_SCRAPS) + lines[at][place:]
        else:
            lines[at] = " " * chance.randrange(6) + lines[at].lstrip(" ")
    return "".join(lines)
