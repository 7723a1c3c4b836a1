"""The reference of checks, made from their docstrings: `--explain` and docs/reference/checks.md."""

from __future__ import annotations

from trashkit.audit.registry import FAMILIES, Check, checks, find
from trashkit.audit.settings import Settings, explained


def explain(wanted: str) -> str:
    """Pages of the checks selected by a code, the beginning of codes or a name; ``all`` lists the titles.

    Raises TrashkitError if there are none.
    """
    if wanted.strip().lower() == "all":
        return "\n".join(f"{c.code}  {c.severity.value:7}  {c.name:28}  {c.title}" for c in checks().values())
    return "\n\n".join(f"{c.code} {c.name} ({c.severity.value})\n\n{c.page}" for c in find(wanted))


def _section(check: Check) -> str:
    first, _, rest = check.page.partition("\n")
    body = rest.replace("Example::", "Example:").strip("\n")
    return f"### {check.code} {check.name}\n\n**{check.severity.value}.** {first}\n\n{body}\n"


def reference_page() -> str:
    """The whole reference as Markdown, one section for each check."""
    lines = [
        "# Checks",
        "",
        "What `trashkit audit` checks. Codes never change their meaning. Errors break or corrupt training or",
        "evaluation, warnings are most likely mistakes, and info findings are worth checking. Names in parentheses,",
        "such as `tiny_area`, are settings in the table `[audit]` of `trashkit.toml`.",
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
    """The section on trashkit.toml: every setting with its default, and examples of lists and waivers."""
    rows = [
        f"| `{name}` | {'below' if name == 'parts' else f'`{list(value) if isinstance(value, tuple) else value}`'} "
        f"| {text.replace('``', '`')} |"
        for name, value, text in explained()
    ]
    pairs = ",\n".join(f'    ["{part}", "{whole}"]' for part, whole in Settings().parts)
    return [
        "## Settings",
        "",
        "Settings are in the table `[audit]` of `trashkit.toml` in the current folder or above, or of",
        "the file that `--project` names. Lengths are in pixels, areas in square pixels, and shares from 0 to 1.",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
        *rows,
        "",
        "A part may be inside its whole; both are category names in which `*` matches anything. `extend_parts` adds",
        "pairs to the default list, `parts` replaces it. A waiver accepts findings of one code about an",
        "`annotation_id`, an `image_id` or a `file_name` (`*` matches anything), and must give a reason.",
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
