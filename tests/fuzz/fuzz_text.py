"""Mutations of TOML, XML, YAML, CSV and plain lists, by their tokens."""

# ruff: noqa: E501  tables of values are easier to read in long lines
from __future__ import annotations

import json
import random
import re

from fuzz_json import NUMBERS, TEXTS, junk, nested

_HOSTILE_TOML = (
    "a" + ".a" * 20_000 + " = 1\n", "x = " + nested(100_000) + "\n", "[" + "a." * 5000 + "b]\n", "x = 1\nx = 2\n",
    "x = " + "1" * 5000 + "\n", "x = 9999-99-99\n", 'x = "\\uD800"\n', "[[audit.waivers]]\n" * 300, "x = {" * 2000,
    "x = inf\ny = nan\n", 'x = """', "\x00", "[audit]\n[audit]\n", "= 1\n", "x = 0x" + "f" * 4000 + "\n",
)  # fmt: skip


def _text(rng: random.Random) -> str:
    return rng.choice(TEXTS).encode(errors="replace").decode()


def _toml_value(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return json.dumps(_text(rng))
    if kind < 0.7:
        return rng.choice(NUMBERS).replace("NaN", "nan").replace("Infinity", "inf")
    return rng.choice(
        ["[]", "{}", "[[]]", "true", "[1, 'a']", "{a = 1}", "1979-05-27", "07:32:00", "'''a'''", nested(200)]
    )


def mutate_toml(data: bytes, rng: random.Random) -> bytes:
    """A mutated TOML file."""
    if rng.random() < 0.2:
        return data + rng.choice(_HOSTILE_TOML).encode() if rng.random() < 0.5 else rng.choice(_HOSTILE_TOML).encode()
    lines = data.decode().splitlines()
    for _ in range(rng.choice([1, 1, 2, 3])):
        n = rng.randrange(len(lines)) if lines else 0
        line = lines[n] if lines else ""
        key, equals, _ = line.partition("=")
        way = rng.random()
        if way < 0.6 and equals:
            lines[n] = f"{key}= {_toml_value(rng)}"
        elif way < 0.75 and lines:
            lines[n] = (
                f"{_text(rng)} = {_toml_value(rng)}" if equals else f"[{rng.choice(['x', 'data', 'audit', 'a.b'])}]"
            )
        elif way < 0.85 and lines:
            del lines[n]
        elif lines:
            lines.insert(rng.randrange(len(lines) + 1), line)
    return "\n".join([*lines, ""]).encode()


_ATTRIBUTE = re.compile(r'([\w:-]+)="([^"]*)"')
_HOSTILE_XML = (
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
    '<!DOCTYPE a SYSTEM "file:///etc/passwd">', '<?xml version="1.0" encoding="utf-7"?>', "<a>" * 100_000,
    "<a>" * 300 + "</a>" * 300, "&undefined;", "<![CDATA[" + "x" * 10_000 + "]]>", "<!-- " + "-" * 1000, "\x00", "<a a='1' a='2'/>",
    "&#xD800;", "&#0;",
)  # fmt: skip


def _xml_text(rng: random.Random) -> str:
    text = rng.choice(
        [_text(rng), rng.choice(NUMBERS), "0,0;1,1;2,2", "1,1;" * 5000, "a,b;c,d", "5, " * 20_000, "99999999999, 1"]
    )
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def mutate_xml(data: bytes, rng: random.Random) -> bytes:
    """A mutated XML file."""
    text = data.decode()
    for _ in range(rng.choice([1, 1, 2, 4])):
        attributes = list(_ATTRIBUTE.finditer(text))
        way = rng.random()
        if way < 0.6 and attributes:
            # each name of an attribute is as likely as any other
            name = rng.choice(sorted({found[1] for found in attributes}))
            found = rng.choice([one for one in attributes if one[1] == name])
            new = f'{name}="{_xml_text(rng)}"' if rng.random() < 0.85 else ""
            text = text[: found.start()] + new + text[found.end() :]
        elif way < 0.75:
            contents = list(re.finditer(r">([^<>]+)<", text))
            if contents:
                found = rng.choice(contents)
                text = f"{text[: found.start(1)]}{_xml_text(rng)}{text[found.end(1) :]}"
        elif way < 0.9:
            tags = list(re.finditer(r"<[^>]*>", text))
            found = rng.choice(tags) if tags else None
            if found:
                text = text[: found.start()] + rng.choice(["", found[0] * 2, found[0] * 3000]) + text[found.end() :]
        else:
            at = rng.choice([0, rng.randrange(len(text) + 1)])
            text = text[:at] + rng.choice(_HOSTILE_XML) + text[at:]
    return text.encode(errors="replace")


_HOSTILE_YAML = (
    "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{('*' + chr(97 + n) + ',') * 9}]\n" for n in range(9)),
    "- " * 3000 + "a\n", "[" * 100_000, "!!python/object/apply:os.system ['echo x']\n", "? [a, b]\n: 1\n", "a: *nowhere\n", "<<: 1\n",
    "a: 1e999\nb: .nan\nc: .inf\n", "1: a\n1: b\n", "a: 9999-99-99\n", "names: {0: a, 5000000: b}\n", "a: " + "1" * 5000 + "\n", "\t- a\n",
    "names:\n  -1: a\n  0: b\n", "--- a\n--- b\n", "a: 0o99\n", "a: 190:20:30\n", "names: null\n", "names: [[a], {b: c}]\n", "nc: -3\nnames: []\n",
)  # fmt: skip


def mutate_yaml(data: bytes, rng: random.Random) -> bytes:
    """A mutated YAML file."""
    if rng.random() < 0.3:
        return (data if rng.random() < 0.5 else b"") + rng.choice(_HOSTILE_YAML).encode()
    return mutate_lines(data, rng, r"[^\s:,\[\]{}]+")


def mutate_lines(data: bytes, rng: random.Random, token: str = r"[^\s,;]+") -> bytes:
    """A list or table of tokens, with tokens and lines replaced, removed, repeated and swapped."""
    lines = data.decode().splitlines()
    for _ in range(rng.choice([1, 1, 2, 4])):
        n = rng.randrange(len(lines)) if lines else 0
        way = rng.random()
        found = list(re.finditer(token, lines[n])) if lines else []
        if way < 0.6 and found:
            one = rng.choice(found)
            new = rng.choice(
                [_text(rng), rng.choice(NUMBERS), junk(rng)[:200_000], one[0] * 2, "-" + one[0], one[0] + ".5", ""]
            )
            lines[n] = lines[n][: one.start()] + new.encode(errors="replace").decode() + lines[n][one.end() :]
        elif way < 0.75 and lines:
            del lines[n]
        elif way < 0.85 and lines:
            lines.insert(rng.randrange(len(lines) + 1), lines[n])
        elif way < 0.9 and lines:
            lines[n] = lines[n] * rng.choice([2, 50])
        else:
            lines.insert(n, rng.choice(["", ",", '"', "\x00", "a,b,c,d,e", _text(rng), '"' + "x" * 200_000]))
    end = rng.choice(["\n", "\n", "\n", "\r\n", "\r"])
    return end.join([*lines, ""]).encode(errors="replace")


_HOSTILE_RUNS = (
    "1 5 3 5", "10 2 1 2", "1 999999999999", "-5 3", "0 0", "1 2 3", "1.5 2", "a b", "99999999999999999999 1", "1 0", "4096 1 4097 1",
    "1 4096", "1 " * 5001, "", "nan 1", "1 4097",
)  # fmt: skip


def mutate_csv(data: bytes, rng: random.Random) -> bytes:
    """A mutated CSV file: its cells, also as run lengths and as lists of values."""
    if rng.random() < 0.4:
        lines = data.decode().splitlines()
        n = rng.randrange(len(lines))
        cells = lines[n].split(",")
        at = rng.randrange(len(cells))
        values = cells[at].split(" ")
        way = rng.random()
        if way < 0.5:
            cells[at] = rng.choice(_HOSTILE_RUNS)
        elif way < 0.8:
            values[rng.randrange(len(values))] = rng.choice([*NUMBERS, "", "a", "11", "99"])
            cells[at] = " ".join(values)
        else:
            cells[at] = " ".join(values[: rng.randrange(len(values) + 1)] * rng.choice([1, 2]))
        lines[n] = ",".join(cells)
        return "\n".join([*lines, ""]).encode(errors="replace")
    return mutate_lines(data, rng, r"[^,\s]+")
