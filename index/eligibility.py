"""Eligibility rules of an offer: who, or which cart, it may be shown to.

A rule set is a JSON object. Each member names a context feature, or one of `cart_total`,
`cart_items` and `placement`, and says what is allowed: one value, a list of values, or an object
with any of `in`, `not_in`, `min` and `max`. All members must hold. What a request does not say
fails the rule.

    {"country": ["US", "CA"], "cart_total": {"min": 30}, "device": {"not_in": ["tablet"]}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from index.codec import pack, unpack
from index.request import Request

_MAX_INT_BITS = 1024
_MAX_BOUND = 1e15
_OPERATORS = frozenset({"in", "not_in", "min", "max"})


def parse_rules(text: str) -> bytes:
    """Check a rule set and pack it for an offer record.

    Returns:
        Packed rules; empty when the text holds no rule.

    Raises:
        ValueError: the text is no such object; the message names the member and the remedy.
    """
    try:
        rules = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"eligibility is not JSON: {problem}") from problem
    if not isinstance(rules, dict):
        raise ValueError('eligibility must be a JSON object such as {"country": ["US"]}')
    clauses = [_clause(name, rule) for name, rule in sorted(rules.items())]
    return pack(clauses) if clauses else b""


def is_eligible(rules: bytes, request: Request, facts: Mapping[str, str]) -> bool:
    """Whether a request meets packed rules.

    Args:
        rules: from `parse_rules`.
        request: the request, for its cart.
        facts: the request's context as normalised text by feature name, with `placement`.
    """
    for name, allowed, forbidden, least, most in unpack(rules):
        if name in ("cart_total", "cart_items"):
            found = _cart_number(name, request)
            if allowed is not None and found not in {_number(text) for text in allowed}:
                return False
            if forbidden is not None and found in {_number(text) for text in forbidden}:
                return False
        else:
            text = facts.get(name)
            if text is None:
                return False
            if allowed is not None and text not in allowed:
                return False
            if forbidden is not None and text in forbidden:
                return False
            found = _number(text)
        if (least is not None and not found >= least) or (most is not None and not found <= most):
            return False
    return True


def _clause(name: str, rule: Any) -> list[Any]:
    if not isinstance(rule, dict):
        rule = {"in": rule}
    if unknown := set(rule) - _OPERATORS:
        raise ValueError(
            f"eligibility of {name!r} has unknown {sorted(unknown)}; use in, not_in, min, max"
        )
    bounds = [rule.get("min"), rule.get("max")]
    for bound in bounds:
        if bound is None:
            continue
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise ValueError(f"eligibility of {name!r}: min and max must be numbers, not {bound!r}")
        if not abs(bound) <= _MAX_BOUND:
            raise ValueError(f"eligibility of {name!r}: min and max must be finite, up to 1e15")
    return [name, _texts(name, rule.get("in")), _texts(name, rule.get("not_in")), *bounds]


def _texts(name: str, values: Any) -> list[str] | None:
    if values is None:
        return None
    listed = values if isinstance(values, list) else [values]
    if any(isinstance(value, dict | list) or value is None for value in listed):
        raise ValueError(
            f"eligibility of {name!r}: allowed values must be text, numbers or true/false"
        )
    return [normal_value(value) for value in listed]


def normal_value(value: str | float) -> str:
    """A context value as the tables spell it: text without outer blanks, in lower case.

    >>> normal_value(" Mobile"), normal_value(True), normal_value(3.0)
    ('mobile', 'true', '3')
    """
    if isinstance(value, str):
        return value.strip().lower()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        # Python refuses to spell integers of thousands of digits; no table holds one either.
        return str(value) if value.bit_length() <= _MAX_INT_BITS else ""
    return str(int(value)) if isfinite(value) and value == int(value) else str(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _cart_number(name: str, request: Request) -> float:
    if name == "cart_items":
        return float(len(request.cart))
    try:
        return sum(
            (line.unit_price or 0.0) * (1.0 if line.quantity is None else line.quantity)
            for line in request.cart
        )
    except OverflowError:
        return float("inf")
