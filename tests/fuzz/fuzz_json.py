"""Mutations of JSON and JSON Lines: values, keys and lists, at any place of a good file."""

# ruff: noqa: E501  tables of values are easier to read in long lines
from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

FORGED = "FORGED-LINE"
"""Text that a file may only show inside a line, never at the start of one."""

TEXTS = (
    "", "\x00", "a\x00b", f"x\nnext: {FORGED}", f"x\r\n::error::{FORGED}", f"x\rerror: {FORGED}", "\x1b[2J\x1b[31m",
    "\x9b31m", "\ud800", "\u202egpj.exe", "a\u200bb\u200f\u061c", "\U000e0041tag", "\u2028", "../../x", "/etc/passwd",
    "/dev/zero", "C:\\x\\y", ".", "..", "a/" * 60, "a" * 300, "a" * 100_000, "-1", "1e5", "nan", "Infinity", "1" * 5000,
    "%s%n{0}", "[bold]x[/bold]", "<script>alert(1)</script>", "![](http://x)", "=1+1", "é", "e\u0301", "나무.jpg", "|", "*",
    "~", "$HOME", "-rf", "--out", "0", "true", "null", "a.jpg\n", " ", "1 2 3", "image.png", "2026-13-45T99:99:99",
)  # fmt: skip

NUMBERS = (
    "0", "-0", "-0.0", "-1", "1", "2", "255", "256", "65536", "60000", "1e5", "100000000", "2147483648", "-2147483649",
    "4294967296", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e19",
    "1e30", "1e308", "-1e308", "1e999", "-1e999", "1e-320", "0.5", "-0.5", "1e-9", "NaN", "Infinity", "-Infinity",
    "1" * 400, "1" * 5000, "-" + "9" * 5000, "1." + "3" * 5000,
)  # fmt: skip

OTHERS = (
    "null", "true", "false", "[]", "{}", "[[]]", "[[[]]]", "[{}]", '{"": null}', "[null]", "[1,2,3]", '["a"]', "[1e999]",
    '{"size":[1,1],"counts":"!!"}', '{"size":[64,64],"counts":[0,4096]}', '{"size":[60000,60000],"counts":[3600000000]}',
    '{"size":[64,64],"counts":[-5,4101]}', '{"size":[64,64],"counts":[99999999999999999999]}',
    '{"size":[64,64],"counts":"' + "1" * 3000 + '"}', '{"size":[64,64],"counts":"PPPPPPPPPPPPPPPPPP1"}',
    '{"size":[1000000,1000000],"counts":"0"}', '{"size":[0,0],"counts":[]}', '{"size":"ab","counts":{}}',
    '{"size":[64.5,64],"counts":[1,2]}', '{"id":1}', "[[0,0,0,0,0,0]]", "[[1,1,5,5,1,5,5,1]]", "[[1,1]]", "[[1,1,2,2]]",
    "[[-1e9,0,1e9,0,0,1e9]]", "[[1e300,0,1e308,0,0,-1e308]]", '[["a",1,2,3,4,5]]', "[[null,1,2,3,4,5]]", "[0,0,1e9,1e9]",
    "[NaN,NaN,NaN,NaN]", "[" + "0," * 20_000 + "0]", '{"a":1,"a":2}',
    "[[" + ",".join(f"{n % 64},{n * 7 % 64}" for n in range(3000)) + "]]",
)  # fmt: skip


def nested(levels: int, kind: str = "[") -> str:
    """A JSON value of this depth."""
    return "[" * levels + "]" * levels if kind == "[" else '{"a":' * levels + "1" + "}" * levels


def junk(rng: random.Random) -> str:
    """The text of a hostile JSON value."""
    kind = rng.random()
    if kind < 0.3:
        return json.dumps(rng.choice(TEXTS))
    if kind < 0.6:
        return rng.choice(NUMBERS)
    if kind < 0.95:
        return rng.choice(OTHERS)
    return nested(rng.choice([90, 110, 600, 100_000]), rng.choice("[{"))


Place = tuple[Any, Any]
"""A list or object, and the position or key of a value in it."""


def places(value: Any) -> dict[str, list[Place]]:
    """The places of all values, by their path without list positions; at most 40 for each path."""
    found: dict[str, list[Place]] = {}
    stack: list[tuple[str, Any]] = [("$", value)]
    while stack:
        path, node = stack.pop()
        entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, item in entries:
            below = f"{path}.{key}" if isinstance(node, dict) else f"{path}[]"
            known = found.setdefault(below, [])
            if len(known) < 40:
                known.append((node, key))
                stack.append((below, item))
    return found


class Document:
    """A JSON value whose parts can be replaced by any text."""

    def __init__(self, value: Any) -> None:
        self.value = copy.deepcopy(value)
        self.raw: dict[str, str] = {}

    def hold(self, text: str) -> str:
        """A string that `text` replaces when the document is written."""
        token = f"@@{len(self.raw)}@@"
        self.raw[token] = text
        return token

    def __str__(self) -> str:
        text = json.dumps(self.value, ensure_ascii=False)
        for token, raw in self.raw.items():
            text = text.replace(f'"{token}"', raw)
        return text


def _replace(doc: Document, rng: random.Random, parent: Any, key: Any) -> None:
    parent[key] = doc.hold(junk(rng))


def _delete(doc: Document, rng: random.Random, parent: Any, key: Any) -> None:
    del parent[key]


def _other_value(doc: Document, rng: random.Random, parent: Any, key: Any) -> None:
    found = places(doc.value)
    node, at = rng.choice(found[rng.choice(sorted(found))])
    parent[key] = copy.deepcopy(node[at])


def _number(doc: Document, rng: random.Random, parent: Any, key: Any) -> None:
    value = parent[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        _replace(doc, rng, parent, key)
    else:
        parent[key] = rng.choice(
            [-value, value + 1, value - 1, value * 1000, value + 0.5, float(value), str(value), [value]]
        )


def _wrap(doc: Document, rng: random.Random, parent: Any, key: Any) -> None:
    value = parent[key]
    parent[key] = rng.choice([[value], {"a": value}, str(value)[:500], [value, value]])


def _longer(doc: Document, rng: random.Random, parent: Any, key: Any) -> None:
    value = parent[key]
    if isinstance(value, list) and value:
        value.extend(copy.deepcopy(rng.choice(value)) for _ in range(rng.choice([1, 1, 2, 300])))
    elif isinstance(value, str):
        parent[key] = value + rng.choice([*TEXTS[:20], value])
    else:
        _wrap(doc, rng, parent, key)


def _shorter(doc: Document, rng: random.Random, parent: Any, key: Any) -> None:
    value = parent[key]
    if isinstance(value, list | str):
        parent[key] = value[: rng.randrange(len(value) + 1)]
    elif isinstance(value, dict):
        parent[key] = dict(rng.sample(sorted(value.items(), key=str), rng.randrange(len(value) + 1)))
    else:
        _replace(doc, rng, parent, key)


def _swap(doc: Document, rng: random.Random, parent: Any, key: Any) -> None:
    others = list(parent) if isinstance(parent, dict) else range(len(parent))
    other = rng.choice(list(others))
    parent[key], parent[other] = parent[other], parent[key]


def _key(doc: Document, rng: random.Random, parent: Any, key: Any) -> None:
    if isinstance(parent, dict):
        value = parent.pop(key)
        parent[rng.choice(TEXTS)] = value
    else:
        rng.shuffle(parent)


def _twice(doc: Document, rng: random.Random, parent: Any, key: Any) -> None:
    """The key of an object is there twice."""
    if not isinstance(parent, dict):
        parent.append(copy.deepcopy(parent[key]))
        return
    value = json.dumps(parent.pop(key))
    token = f"@@key{len(doc.raw)}@@"
    parent[token] = 0
    doc.raw[token] = f'{json.dumps(str(key))}: {junk(rng)}, {json.dumps(str(key))}: {value}, "_"'


WAYS: tuple[tuple[Callable[[Document, random.Random, Any, Any], None], int], ...] = (
    (_replace, 12), (_delete, 3), (_other_value, 2), (_number, 3), (_wrap, 1), (_longer, 2), (_shorter, 1), (_swap, 1),
    (_key, 1), (_twice, 1),
)  # fmt: skip


def mutate_value(value: Any, rng: random.Random) -> str:
    """The text of a JSON value with one to four changes."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.02:
        return junk(rng)
    doc = Document(value)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        found = places(doc.value)
        if not found:
            break
        parent, key = rng.choice(found[rng.choice(sorted(found))])
        way = rng.choices([way for way, _ in WAYS], [weight for _, weight in WAYS])[0]
        way(doc, rng, parent, key)
    return str(doc)


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """A mutated JSON file."""
    return mutate_value(json.loads(data), rng).encode(errors="surrogatepass")


def mutate_json_lines(data: bytes, rng: random.Random) -> bytes:
    """A mutated JSON Lines file."""
    lines = data.decode().splitlines()
    for _ in range(rng.choice([1, 1, 2])):
        n = rng.randrange(len(lines)) if lines else 0
        way = rng.random()
        if way < 0.7 and lines:
            lines[n] = mutate_value(json.loads(lines[n]) if lines[n].startswith("{") else None, rng)
        elif way < 0.8 and lines:
            del lines[n]
        elif way < 0.9 and lines:
            lines.insert(rng.randrange(len(lines) + 1), lines[n])
        else:
            lines.insert(n, junk(rng))
    return "\n".join([*lines, ""]).encode(errors="surrogatepass")
