"""YAML: plain values without aliases, with limits on size and nesting."""

from __future__ import annotations

from typing import Any

from trashkit.readers.content import ContentError, decode_text
from trashkit.readers.json_text import MOST_LEVELS, check_nesting

_MOST = 4 << 20


def decode_yaml(text: bytes | str, *, as_text: bool = False) -> Any:
    """Return the value of a YAML text.

    as_text: every scalar is the text that is written there, so that a class named ``no`` does not become False.
    Raises ContentError where it does not parse, has aliases (which can repeat a value billions of times), is nested
    more than 100 levels deep, or has lists as keys.
    """
    import yaml  # type: ignore[import-untyped]

    text = decode_text(text)
    if len(text) > _MOST:
        raise ContentError(f"it is larger than {_MOST >> 20} MiB")
    try:
        level = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ContentError("it uses YAML aliases (*name), which are not read")
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if level > MOST_LEVELS:
                raise ContentError(f"it is nested more than {MOST_LEVELS} levels deep")
        value = yaml.load(text, Loader=yaml.BaseLoader if as_text else yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ContentError(" ".join(str(error).split())[:160]) from error
    except RecursionError:
        raise ContentError(f"it is nested more than {MOST_LEVELS} levels deep") from None
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, ContentError):
            raise
        raise ContentError(" ".join(str(error).split())[:160]) from error
    check_nesting(value)
    return value
