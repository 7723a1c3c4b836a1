"""The requests that the App makes. FiftyOne's server answers many more, some of which read, write or delete files."""

from __future__ import annotations

import re

from trashkit.readers import ContentError, decode_json

OWN_OPERATORS = "@trashkit/review/"
_BUILT_IN = "@voxel51/operators/"
BUILT_IN_OPERATORS = frozenset(
    _BUILT_IN + name
    for name in (
        *("list_saved_views", "load_saved_view", "reload_saved_view", "save_view", "edit_saved_view_info"),
        *("delete_saved_view", "list_workspaces", "load_workspace", "save_workspace", "edit_workspace_info"),
        *("delete_workspace", "load_group_by", "get_field_schema"),
        *("get_label_schemas", "list_valid_annotation_fields", "validate_label_schemas", "generate_label_schemas"),
    )
)
"""FiftyOne's operators for saved views and workspaces, and what the Annotate tab asks for.

Others change or delete samples and fields, or list and read any file.
"""

_ID = "[0-9a-f]{24}"
_READ = (
    "/",
    r"/datasets(/[^/\\\x00-\x1f]*)?",
    r"(/datasets)?/assets/\w[\w.-]*",
    r"(/datasets)?/\w[\w-]*\.(ico|svg|png)",
    r"/plugins|/plugins/trashkit_review/keys\.js",
    "/fiftyone|/features",
)
_OPERATOR_CALLS = (
    "/operators/execute",
    "/operators/resolve-type",
    "/operators/resolve-execution-options",
)
_POST = ("/graphql", "/events?", "/aggregate", "/tag", "/tagging", "/values", "/operators(/resolve-placements)?")
_PATCH = (rf"/dataset/{_ID}/sample/{_ID}", rf"/dataset/{_ID}/sample/{_ID}/[\w.]+/{_ID}")
_ALLOWED = {
    method: re.compile("|".join(f"(?:{path})" for path in paths))
    for method, paths in (
        ("GET", _READ),
        ("HEAD", _READ),
        ("POST", (*_POST, *_OPERATOR_CALLS)),
        ("PATCH", _PATCH),
    )
}


def is_allowed(method: str, path: str) -> bool:
    """Whether the App makes requests of this method and path, without ``/media``."""
    allowed = _ALLOWED.get(method)
    return allowed is not None and allowed.fullmatch(path) is not None


def is_allowed_operator(uri: object) -> bool:
    """Whether the App may call an operator: all of trashkit's, few of FiftyOne's."""
    return isinstance(uri, str) and (uri.startswith(OWN_OPERATORS) or uri in BUILT_IN_OPERATORS)


def refused_body(path: str, body: bytes) -> str:
    """Why the body of a request is refused: it calls an operator that the App does not need. Empty if it is not."""
    if path not in _OPERATOR_CALLS:
        return ""
    try:
        value = decode_json(body.decode())
    except UnicodeDecodeError:
        return "the request is not UTF-8 text"
    except ContentError as error:
        return f"the request is not JSON: {error}"
    uri = value.get("operator_uri") if isinstance(value, dict) else None
    return "" if is_allowed_operator(uri) else f"the review App does not use the operator {str(uri)[:100]!r}"
