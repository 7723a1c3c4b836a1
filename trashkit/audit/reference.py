"""The reference of the checks, from their docstrings: `--explain` and docs/reference/checks.md."""

from __future__ import annotations

from trashkit.audit.registry import Check, checks, find

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
    return "\n".join(lines).rstrip() + "\n"
