"""Requests of somebody else's service: a JSON template that each question is put into.

A text that is nothing but a placeholder becomes the value itself (`"{k}"` the number, `"{items}"`
the list), inside a longer text it is written out. A list whose one member names `{item}` gets that
member once for each item. A member of an object or a list that is a placeholder of nothing, as the
customer of a guest, is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from builder.errors import InputNotFound

PLACEHOLDERS: Final = ("customer_id", "k", "items", "item", "placement")
_PLACEHOLDER: Final = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
_NOTHING: Final = object()


class BadTemplate(Exception):
    """No request or no answer can be read by it."""

    exit_code = 2

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.hint = f"placeholders are {', '.join('{' + name + '}' for name in PLACEHOLDERS)}"


def read_template(path: Path) -> Any:
    """A template from a file.

    Raises:
        InputNotFound: it can't be read.
        BadTemplate: it is no JSON, or names nothing that differs between questions, or leaves no
            request where somebody lacks a value, or names an item where none of them is meant.
    """
    try:
        template = orjson.loads(path.read_bytes())
    except OSError as problem:
        raise InputNotFound(f"--template {path}: {problem.strerror}", path=path) from problem
    except orjson.JSONDecodeError as problem:
        raise BadTemplate(f"{path} is not JSON: {problem}") from problem
    if isinstance(template, str) and _PLACEHOLDER.fullmatch(template):
        raise BadTemplate(f"{path} is a placeholder and nothing else: a guest would ask nothing")
    if "item" in _named(template, within_items=False):
        raise BadTemplate(f"{path} names {{item}} outside of a list of one member: which is meant?")
    if not {"customer_id", "items", "item"} & _named(template):
        raise BadTemplate(f"{path} names neither customer nor items: all requests would be alike")
    return template


def filled(template: Any, values: Mapping[str, Any]) -> bytes:
    """The body of one request.

    >>> filled({"who": "{customer_id}", "basket": [{"sku": "{item}"}]}, {"items": ["a", "b"]})
    b'{"basket":[{"sku":"a"},{"sku":"b"}]}'
    """
    return orjson.dumps(_filled(template, values))


def offers_in(answer: Any, path: Sequence[str]) -> list[str]:
    """Ids in an answer, in their order; what the path does not lead to is not there.

    Args:
        answer: decoded JSON.
        path: names of members; `*` goes through a list.

    >>> offers_in({"offers": [{"offer_id": "a"}, {"offer_id": 7}]}, ["offers", "*", "offer_id"])
    ['a', '7']
    """
    if not path:
        return [str(answer)] if isinstance(answer, str | int) else []
    first, rest = path[0], path[1:]
    if first == "*":
        members = answer if isinstance(answer, list) else []
        return [found for member in members for found in offers_in(member, rest)]
    return offers_in(answer[first], rest) if isinstance(answer, dict) and first in answer else []


def _named(part: Any, *, within_items: bool = True) -> set[str]:
    """Placeholders in texts of a template, without what is repeated for each item if so wished."""
    if isinstance(part, str):
        return set(_PLACEHOLDER.findall(part))
    if isinstance(part, dict):
        members = list(part.values())
    elif isinstance(part, list) and (within_items or not _repeats(part)):
        members = part
    else:
        members = []
    return {name for member in members for name in _named(member, within_items=within_items)}


def _repeats(part: Sequence[Any]) -> bool:
    """Whether a list gets its one member once for each item."""
    return len(part) == 1 and "item" in _named(part[0])


def _filled(part: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(part, str):
        return _text(part, values)
    if isinstance(part, list):
        if _repeats(part):
            return [_filled(part[0], {**values, "item": item}) for item in values["items"]]
        filled_in = [_filled(member, values) for member in part]
        return [member for member in filled_in if member is not _NOTHING]
    if isinstance(part, dict):
        members = {name: _filled(member, values) for name, member in part.items()}
        return {name: member for name, member in members.items() if member is not _NOTHING}
    return part


def _text(text: str, values: Mapping[str, Any]) -> Any:
    if whole := _PLACEHOLDER.fullmatch(text):
        value = values.get(whole[1])
        return _NOTHING if value is None else value
    return _PLACEHOLDER.sub(lambda found: _written(values.get(found[1])), text)


def _written(value: Any) -> str:
    if value is None:
        return ""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
