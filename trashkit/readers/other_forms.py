"""What a file really is that was given as something else: a Git LFS pointer, a web page, an archive, a picture."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple


class OtherForm(NamedTuple):
    """What a file is instead: a clause such as "it is a web page (HTML)", and a hint that says what to do."""

    reason: str
    hint: str


HEAD = 1024
"""Bytes of a file that `other_form` looks at."""

_LFS = OtherForm(
    "it is a Git LFS pointer, not the file that it stands for", "fetch the file: run `git lfs pull` in its repository"
)
_ANNEX = OtherForm(
    "it is a git-annex pointer, not the file that it stands for", "fetch the file: `git annex get` in its repository"
)
_DVC = OtherForm("it is a DVC pointer, not the file that it stands for", "fetch the file: `dvc pull`, and give that")
_PAGE = OtherForm(
    "it is a web page (HTML)", "download the file itself: the server sent a page, perhaps to log in or to confirm"
)
_REFUSAL = OtherForm(
    "it is an error message of a storage server (XML)", "download the file again: the link may have expired"
)
XML = OtherForm("it is an XML file", "for annotations from CVAT: `trashkit data import cvat`")
_OPEN_COCO = "give a JSON file with images, annotations and categories"
_OPEN = "give the file that another program exported"

_PACKED: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "compressed with gzip", "unpack it first: gunzip FILE.gz (a .tar.gz archive: tar xf FILE)"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first: unzip FILE, and give the file inside it"),
    (b"PK\x05\x06", "an empty ZIP archive", "export it again"),
    (b"BZh", "compressed with bzip2", "unpack it first: bunzip2 FILE.bz2"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it first: unxz FILE.xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first: unzstd FILE.zst"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "unpack it first: unlz4 FILE.lz4"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first, and give the file inside it"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it first, and give the file inside it"),
)
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"%PDF-", "a PDF file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of Microsoft Office"),
    (b"\x7fELF", "a program"),
    (b"bplist00", "a binary property list"),
)
_TYPES = {
    b"avif": "an AVIF picture",
    b"avis": "an AVIF picture",
    b"heic": "a HEIC picture",
    b"heix": "a HEIC picture",
    b"hevc": "a HEIC picture",
    b"heim": "a HEIC picture",
    b"heis": "a HEIC picture",
    b"mif1": "a HEIC picture",
    b"msf1": "a HEIC picture",
}
"""Pictures by the brand in their ``ftyp`` box; any other is a video."""

_UNREAD: tuple[tuple[bytes, str], ...] = (
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"II*\0\x10\0\0\0CR", "a raw picture of a camera"),
    (b"FUJIFILMCCD-RAW", "a raw picture of a camera"),
    (b"IIU\0", "a raw picture of a camera"),
    (b"IIRO", "a raw picture of a camera"),
)
"""Pictures that are not read, by their first bytes."""

_HTML = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|script|meta|title)\b", re.I | re.S
)
_TEXTS = (
    (_HTML, _PAGE),
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?<error>\s*<code>", re.I), _REFUSAL),
    (re.compile(rb"\s*<\?xml"), XML),
    (re.compile(rb"outs:\s*\n- (md5|hash|size|path)"), _DVC),
    (
        re.compile(rb"\s*4[0-9]{2}:? (bad request|unauthorized|forbidden|not found|gone|too many requests)\s*$", re.I),
        OtherForm("it is the error message of a server", "download the file again: the link may be wrong"),
    ),
)
"""Kinds of text, by how it begins; the first that fits counts."""


def pointer(head: bytes) -> OtherForm | None:
    """What a file stands for another file with, by its first bytes: Git LFS or git-annex; None for other files."""
    if head.startswith((b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")):
        return _LFS
    if re.match(rb"(/annex/objects/|(\.\./)*\.git/annex/objects/)\S+\s*$", head):
        return _ANNEX
    return None


def other_form(head: bytes) -> OtherForm | None:
    """What a file is instead, by its first `HEAD` bytes; None where they tell nothing.

    Named are what `other_text` names, archives, pictures, videos and other common binary files.
    """
    return other_text(head) or _binary(head)


def other_text(head: bytes) -> OtherForm | None:
    """What a file that is text, but not the one that was meant, is: a pointer, a web page or XML; None for others."""
    text = head.removeprefix(codecs.BOM_UTF8)
    return pointer(head) or next((form for start, form in _TEXTS if start.match(text)), None)


_ZIPPED = (
    (re.compile(rb"\[Content_Types\]\.xml|docProps/|_rels/|xl/|word/"), "a document of Microsoft Office, such as xlsx"),
    (re.compile(rb"mimetypeapplication/vnd\.oasis"), "a document of LibreOffice"),
    (re.compile(rb"[\w/-]+\.npy"), "a NumPy archive (.npz)"),
    (re.compile(rb"[\w-]+/data\.pkl"), "a PyTorch file"),
)
"""Kinds of files that are ZIP archives, by the name of their first entry."""


def _binary(head: bytes) -> OtherForm | None:
    if head.startswith(b"PK\x03\x04"):
        what = next((what for name, what in _ZIPPED if name.match(head, 30)), None)
        if what is not None:
            return OtherForm(f"it is {what}", _OPEN)
    for start, what, hint in _PACKED:
        if head.startswith(start):
            return OtherForm(f"it is {what}", hint)
    if head[257:262] == b"ustar":
        return OtherForm("it is a tar archive", "unpack it first: tar xf FILE, and give the file inside it")
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 1:
        return OtherForm("it is a Python pickle", "save it as JSON: pickles can run programs, so they are not opened")
    what = _medium(head)
    return OtherForm(f"it is {what}", _OPEN) if what else None


def _medium(head: bytes) -> str:
    if head[4:8] == b"ftyp":
        return _TYPES.get(head[8:12], "a video")
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"AVI ", b"WAVE"):
        return "a WebP picture" if head[8:12] == b"WEBP" else "a video or a sound"
    found = (what for start, what in _OTHERS if head.startswith(start))
    return "" if head.startswith(b"BM") and head[6:10] != bytes(4) else next(found, "")


def not_json(text: str) -> OtherForm | None:
    """What a text is that was given as JSON and cannot be parsed; None where it may be damaged JSON."""
    start = text.lstrip()[:200]
    if start.startswith("<<<<<<< "):
        return OtherForm("it has conflicts of a merge (<<<<<<<)", "settle them: `git checkout --ours FILE` or --theirs")
    if re.match(r"[{\[]\s*'", start):
        return OtherForm("it is a Python value, with ' for \"", "write it with json.dump, not with str or print")
    if start[:1] in ("#", "/"):
        return OtherForm("it begins with a comment, which JSON does not have", "delete the comment")
    if re.match(r"(---\s*$|[\w-]+\s*:(\s|$))", start, re.MULTILINE):
        return OtherForm("it is YAML", _OPEN_COCO)
    if start[:1] not in ("{", "[", '"', "") and start.partition("\n")[0].count(",") >= 1:
        return OtherForm("it is CSV", _OPEN_COCO)
    return None


def unread_picture(head: bytes) -> OtherForm | None:
    """A picture of a kind that trashkit does not read, by its first bytes; None for everything else."""
    what = next((what for start, what in _UNREAD if head.startswith(start)), None)
    return None if what is None else OtherForm(f"is {what}, which is not read", "convert it to JPEG or PNG")


_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def unicode_form(data: bytes) -> str:
    """Codec of UTF-16 and UTF-32, with or without a byte order mark; empty for UTF-8 and everything else.

    Without a mark, the first character must be ASCII, as it is in JSON: its zero bytes tell.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    zeros = "".join("0" if byte == 0 else "x" for byte in data[:4])
    form = {"000x": "utf-32-be", "x000": "utf-32-le", "0x0x": "utf-16-be", "x0x0": "utf-16-le"}.get(zeros, "")
    if "32" in form and any(data[4:6] if form == "utf-32-be" else data[6:8]):
        return ""  # videos and some pictures begin with a number
    return form


_RUN = re.compile(rb"[\x80-\xff]+")
_LANGUAGES = {
    "cp949": ("CP949, Korean", "CP949"),
    "gb18030": ("GB18030, Chinese", "GB18030"),
    "cp932": ("Shift JIS, Japanese", "CP932"),
    "cp1252": ("Windows-1252, Western European", "CP1252"),
    "cp1251": ("Windows-1251, Cyrillic", "CP1251"),
}


def other_encoding(data: bytes) -> OtherForm:
    """What text that is not UTF-8 may be: the line of the first such byte, and how it reads in likely encodings."""
    form = other_form(data[:HEAD])
    if form is not None:
        return form
    try:
        data.decode("utf-8")
        return OtherForm("it is not UTF-8 text", "save it as UTF-8")
    except UnicodeDecodeError as error:
        at = error.start
    if _ends_inside(data, at):
        return OtherForm("it ends inside a character, so it is truncated", "export it or copy it again")
    if b"\0" in data[: 1 << 16]:
        return OtherForm("it is not text but a binary file", _OPEN)
    line = data.count(b"\n", 0, at) + 1
    start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
    around = data[start : end if end >= 0 else len(data)]
    if len(around) > 400:  # JSON in one line: the text of the string
        start = max(data.rfind(b'"', max(0, at - 100), at) + 1, at - 100)
        quote = data.find(b'"', at, at + 100)
        around = data[start : quote if quote >= 0 else at + 40]
    readings = [
        (name, codec, text) for codec, (name, _) in _LANGUAGES.items() if (text := _reading(around, codec)) is not None
    ]
    if not readings:
        return OtherForm(f"it is not UTF-8 text: line {line} is in another encoding", "save it as UTF-8")
    readings.sort(key=lambda one: -_plausibility(one[2], one[1]))
    shown = ", or ".join(f'"{text}" in {name}' for name, _, text in readings[:2])
    best = _LANGUAGES[readings[0][1]][1]
    return OtherForm(
        f"it is not UTF-8 text: line {line} reads {shown}",
        f"convert it: iconv -f {best} -t UTF-8 FILE > NEW_FILE",
    )


def _ends_inside(data: bytes, at: int) -> bool:
    """Whether the first byte that is not UTF-8 begins a character that the end of the data cuts off."""
    if len(data) - at > 3 or not _RUN.search(data[:at]):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data[at:])
    except UnicodeDecodeError:
        return False
    return True


def _reading(data: bytes, codec: str) -> str | None:
    """The text in an encoding, from its first letter that is not ASCII on and shortened; None where it is none."""
    for cut in range(3):  # a piece of a long line may end inside a character
        try:
            text = data[: len(data) - cut].decode(codec)
            break
        except UnicodeDecodeError:
            continue
    else:
        return None
    text = " ".join(text.strip().strip('",').split())
    if not all(one.isprintable() for one in text):
        return None
    first = next((n for n, one in enumerate(text) if not one.isascii()), 0)
    start = text.rfind('"', 0, first) + 1
    return text[start:].partition('"')[0][:24]


_COMMON = set(
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行"
    "学法所民得经塑料瓶袋纸盒玻璃金属罐垃圾电池衣物泡沫包装一般其他杂物可回收厨余有害废弃类别标签背景水杯烟头食品桶"
)


def _plausibility(text: str, codec: str) -> float:
    """How likely a text is in the language of an encoding: the share of letters that this language uses."""
    letters = [one for one in text if not one.isascii()]
    if not letters:
        return 0.0
    if codec == "cp949":
        return sum("가" <= one <= "힣" for one in letters) / len(letters)
    if codec == "gb18030":
        chinese = sum("一" <= one <= "鿿" for one in letters) / len(letters)
        return 0.9 * chinese + 0.2 * (sum(one in _COMMON for one in letters) / len(letters) >= 0.3)
    if codec == "cp932":
        return 0.95 * sum("぀" <= one <= "ヿ" or "一" <= one <= "鿿" for one in letters) / len(letters) - 0.15
    western = codec == "cp1252"
    alone = sum(one.isalpha() for one in letters) / len(letters)
    # Letters with accents stand between others; of Cyrillic ones, whole words consist.
    words = [word for word in re.findall(r"\w+", text) if not word.isascii()]
    mixed = sum(any(one.isascii() for one in word) for word in words) / max(len(words), 1)
    return alone * 0.99 * mixed if western else alone * 0.55 * (1 - mixed)


JSON_LINES = OtherForm(
    "it is JSON Lines (one object a line), not one JSON value",
    "give a file with one JSON value; a COCO file is one object with the lists images, annotations and categories",
)


def is_json_lines(text: str, at: int) -> bool:
    """Whether a JSON text that has extra data `at` a place continues with another value on a new line."""
    before = text[max(0, at - 200) : at]
    return text[at : at + 1] in ("{", "[") and "\n" in before[len(before.rstrip()) :]
