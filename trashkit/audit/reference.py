"""The reference of the checks, from their docstrings: `--explain` and docs/reference/checks.md."""

from __future__ import annotations

from trashkit.audit.registry import Check, checks, find
from trashkit.audit.settings import Settings, explained

FAMILIES = {
    "S": "Structure: the file and its references",
    "G": "Geometry: rings, masks, areas and boxes",
    "L": "Labels: annotations against each other and against their class",
    "I": "Images: the photos themselves, with `--images`",
    "P": "Predictions: what a model sees and annotators did not, with `--predictions`",
}


def explain(wanted: str) -> str:
    """Pages of the checks that a code, the beginning of codes or a name means; ``all`` lists the titles.

    Raises TrashkitError for what names none.
    """
    if wanted.strip().lower() == "all":
        return "\n".join(f"{c.code}  {c.severity.value:7}  {c.name:28}  {c.title}" for c in checks().values())
    return "\n\n".join(f"{c.code} {c.name} ({c.severity.value})\n\n{c.page}" for c in find(wanted))


def _section(check: Check) -> str:
    first, _, rest = check.page.partition("\n")
    body = rest.replace("Example::", "Example:").strip("\n")
    return f"### {check.code} {check.name}\n\n**{check.severity.value}.** {first}\n\n{body}\n"


def reference_page() -> str:
    """The whole reference as Markdown, one section for each check; the same every time."""
    lines = [
        "# Checks",
        "",
        "What `trashkit audit` looks for. Codes never change their meaning. Errors break or corrupt training or",
        "evaluation, warnings are most likely mistakes, information is worth a look. Thresholds in backquotes are",
        "settings of the table `[audit]` in `trashkit.toml`.",
        "",
        "| code | name | severity | finds |",
        "|---|---|---|---|",
    ]
    everything = checks()
    lines += [
        f"| {c.code} | {c.name} | {c.severity.value} | {c.title.replace('|', chr(92) + '|')} |"
        for c in everything.values()
    ]
    for letter, title in FAMILIES.items():
        lines += ["", f"## {title}", ""]
        lines += [_section(c) for code, c in everything.items() if code.startswith(letter)]
    return "\n".join([*lines, *_settings()]).rstrip() + "\n"


def _settings() -> list[str]:
    """The section on trashkit.toml: every setting with its default, and what holds more than a number by example."""
    rows = [
        f"| `{name}` | {'below' if name == 'parts' else f'`{list(value) if isinstance(value, tuple) else value}`'} "
        f"| {text.replace('``', '`')} |"
        for name, value, text in explained()
    ]
    pairs = ",\n".join(f'    ["{part}", "{whole}"]' for part, whole in Settings().parts)
    return [
        "## Settings",
        "",
        "All of them stand in the table `[audit]` of `trashkit.toml`, in the current folder or named by `--config`.",
        "Lengths are pixels, areas square pixels, shares numbers from 0 to 1. What is not named keeps its default.",
        "",
        "| setting | default | means |",
        "|---|---|---|",
        *rows,
        "",
        "A part may lie in its whole, both by names of categories in which `*` stands for anything. `extend_parts`",
        "adds pairs to those that are known, `parts` puts others in their place. A waiver accepts findings of a code:",
        "of an `annotation_id`, an `image_id` or a `file_name` (`*` stands for anything), always with a reason.",
        "",
        "```toml",
        "[audit]",
        "tiny_area = 4",
        'extend_parts = [["*sticker*", "*box*"]]',
        "",
        "[[audit.waivers]]",
        'code = "G003"',
        "annotation_id = 17",
        'reason = "drawn like this on purpose"',
        "```",
        "",
        "The default of `parts`:",
        "",
        "```toml",
        f"parts = [\n{pairs},\n]",
        "```",
    ]
