"""How names of other people are shown."""

from __future__ import annotations

import json
import subprocess
import unicodedata

import pytest

from trashkit.names import ByName, json_escaped, printable, printable_cell, quoted, shortened

HOSTILE = {
    "a\nnext: rm -rf ~": r"a\nnext: rm -rf ~",
    "a\rb\x0bc\x0cd\x1ce\x85f\u2028g\u2029h": r"a\rb\x0bc\x0cd\x1ce\x85f\u2028g\u2029h",
    "\x1b[2Jx\x07\x08\x7f\x9b": r"\x1b[2Jx\x07\x08\x7f\x9b",
    "a\tb": r"a\tb",
    "\u202egnp.jpg": r"\u202egnp.jpg",
    "\u2066a\u2069\u061cb\u200fc\u200ed": r"\u2066a\u2069\u061cb\u200fc\u200ed",
    "pap\u200ber\u2060\ufeff\u00ad\u034f": r"pap\u200ber\u2060\ufeff\xad\u034f",
    "Pa\u200dper\u200c": r"Pa\u200dper\u200c",
    "a\U000e0041\U000e007f\U000e0100": r"a\U000e0041\U000e007f\U000e0100",
    "\u3164\u115f\u1160\uffa0\u2800": r"\u3164\u115f\u1160\uffa0\u2800",
    "a\ufe0f\ufe00": r"a\ufe0f\ufe00",
    "\ue000\ufffe\U0010ffff\udcff": r"\ue000\ufffe\U0010ffff\udcff",
    "::error::x": r":\:error::x",
    "  ::add-mask::x": r"  :\:add-mask::x",
    "a ##[error]x ##vso[task.complete]": r"a #\#[error]x #\#vso[task.complete]",
}


@pytest.mark.parametrize(("name", "shown"), HOSTILE.items(), ids=map(ascii, HOSTILE))
def test_what_misleads_is_escaped(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(shown) == shown


@pytest.mark.parametrize(
    "name",
    [
        "Paper bag",
        "사진/플라스틱 병 (2).jpg",
        unicodedata.normalize("NFD", "쓰레기 봉투"),
        "プラスチック\u3000袋",
        "塑料袋",
        "كيس",
        "می\u200cخواهم",  # Persian, with a zero-width non-joiner
        "क्\u200dष",
        "кириллица",
        "ถุงพลาสติก",
        "naïve café, 10\u00a0cm²",
        "❤\ufe0f 1\ufe0f\u20e3 👩\u200d🚀 🏳\ufe0f\u200d🌈 👍🏽",
        "a # b ## c :: d [e]",
    ],
)
def test_words_of_all_scripts_and_emoji_stand_as_they_are(name: str) -> None:
    assert printable(name) == printable_cell(name) == json_escaped(name) == name


def test_a_cell_that_is_wrapped_starts_no_command() -> None:
    assert printable_cell("x" * 40 + "::error file=a::b") == "x" * 40 + r":\:error file=a::b"
    assert printable_cell("::error::a") == r":\:error::a"


def test_pages_keep_line_ends_but_nothing_invisible() -> None:
    assert printable("a\n\tb\u202e::\n::error::", page=True) == "a\n\tb\\u202e::\n::error::"


@pytest.mark.parametrize("ascii_only", [False, True])
def test_json_keeps_its_values(ascii_only: bool) -> None:
    value = {f"키 {name}": [name, 1, "😀 👩\u200d🚀", "\ud800"] for name in HOSTILE}
    text = json.dumps(value, ensure_ascii=False, indent=1)
    shown = json_escaped(text, ascii_only=ascii_only)
    assert json.loads(shown) == value
    assert "키 " in shown or ascii_only
    assert all(printable(line) == line for line in shown.split("\n"))
    assert shown.isascii() == ascii_only


@pytest.mark.parametrize(
    "name", [*HOSTILE, "plain", "it's", "", "a b", "사진 1.jpg", "-x", "$(touch x)", "a\n'\\1\x1b2"]
)
def test_a_quoted_word_can_be_pasted(name: str) -> None:
    word = quoted(name)
    assert printable(f"next: trashkit {word}") == f"next: trashkit {word}"
    if any("\ud800" <= one < "\udc80" or (one > "\udcff" and one <= "\udfff") for one in name):
        return  # no file can have such a name
    said = subprocess.run(
        ["bash", "-c", f"printf %s {word}"],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )
    assert said.stdout == name.encode("utf-8", "surrogateescape")


def test_long_names_are_shortened_in_the_middle() -> None:
    assert shortened("a" * 50 + "z", 11) == "aaaaa…aaaaz"
    assert shortened("short", 11) == "short"


def test_values_by_name_are_found_in_every_form_of_unicode() -> None:
    name = "사진/병.jpg"
    other = unicodedata.normalize("NFD", name)
    values = ByName([(other, 1), ("a.jpg", 2)])
    assert (values[name], values[other], values.get(name), values.get("b", 0)) == (1, 1, 1, 0)
    assert name in values and other in values and "b" not in values and None not in values
    assert values.setdefault(name, 5) == 1
    assert list(values) == [name, "a.jpg"]
    assert len(ByName([(name, 1), (other, 2)])) == 1
