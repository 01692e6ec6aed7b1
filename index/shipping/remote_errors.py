"""Turns what obstore raises into our errors.

The store's own word for what is wrong is only in the text of its messages, so that is searched.
"""

from __future__ import annotations

import re
from typing import Final

from obstore.exceptions import NotSupportedError, PermissionDeniedError, UnauthenticatedError

from index.shipping.store_errors import (
    CredentialsRefused,
    NoBucket,
    NoRanges,
    NotInStore,
    StoreError,
    StoreFailed,
    Unreachable,
)

_REFUSALS: Final = (
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "AccessDenied",
    "status code: 401",
    "status code: 403",
    "169.254.",  # nothing was set, and the machine itself has no role either
)
_FAILURES: Final = ("HTTP error", "status code: 5", "status code: 429", "timed out", "decoding")


def translated(problem: Exception, where: str, store: str) -> StoreError:
    """Our error for one of the library's.

    Args:
        problem: what it raised.
        where: the blob it is about.
        store: name of the store, which never has a password in it.
    """
    # "Generic HTTP error:" only names the kind of store; what follows is what happened.
    text, first = re.sub(r"^Generic \w+ error: ", "", str(problem)), first_words(problem)
    if "NoSuchBucket" in text:
        return NoBucket("the bucket does not exist", where=store, hint="make it, or correct it")
    if isinstance(problem, FileNotFoundError):
        return NotInStore("is not in the store", where=where)
    if isinstance(problem, (PermissionDeniedError, UnauthenticatedError)) or any(
        word in text for word in _REFUSALS
    ):
        return CredentialsRefused(
            f"the store refuses the credentials, or there are none ({first})",
            where=store,
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of somebody who may do this;"
            " profiles in ~/.aws are not read",
        )
    if isinstance(problem, NotSupportedError) or "non-partial" in text:
        return NoRanges(
            "sends the whole where a part was asked for",
            where=where,
            hint="serve the store by something that knows the Range header",
        )
    if any(word in text for word in _FAILURES):
        return Unreachable(
            f"can't be reached, or fails ({first})", where=store, hint="try again later"
        )
    return StoreFailed(f"the store answered: {first}", where=where)


def first_words(problem: Exception) -> str:
    """The first sentence of the library's message, and the store's own word from its body."""
    text = str(problem)
    code = re.search(r"<Code>(\w+)</Code>", text)
    line = text.partition("\n")[0].partition(": <?xml")[0].partition(" in ")[0]
    status = re.search(r"status code: (\d+)", text)
    told = [code[1]] if code else [f"HTTP {status[1]}"] if status else []
    return ": ".join([line.strip(), *told])
