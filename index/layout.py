"""Facts of the snapshot format: file names, versions, keys. No input or output happens here.

`docs/format.md` describes the same facts for people who write another reader.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

FORMAT_NAME: Final = "almanac-snapshot"
FORMAT_VERSION: Final = 1
TABLE_MAGIC: Final = b"ALMT"

MANIFEST_NAME: Final = "manifest.json"
MODEL_NAME: Final = "model.msgpack"
VECTORS_NAME: Final = "offers.faiss"
CONTEXTS_NAME: Final = "contexts.lmdb"
ITEMS_NAME: Final = "items.lmdb"
OFFERS_NAME: Final = "offers.lmdb"
REPORT_NAMES: Final = ("report.json", "report.html")

CUSTOMERS: Final = 1
CONTEXTS: Final = 2
ITEMS: Final = 3
OFFERS: Final = 4
TABLE_KEY_BYTES: Final = {CUSTOMERS: 16, CONTEXTS: 4, ITEMS: 16, OFFERS: 4}

STORE_NAME: Final = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z"
"""What a brand, channel, node or snapshot id looks like that may become part of a store's names.
`\\Z`, not `$`: the latter would let a newline follow."""

KEY_BYTES: Final = 16
_ITEM_DIGEST: Final = blake2b(digest_size=KEY_BYTES, person=b"almanac-item")
NO_ROW: Final = 0xFFFFFFFF

THIN_BELOW_ORDERS: Final = 3
"""A customer with fewer orders than this is *thin*; with more, *individual*."""


def customers_name(shard: int, n_shards: int) -> str:
    """File name of one hash shard of the customers table (`customers.lmdb` when there is one)."""
    return "customers.lmdb" if n_shards == 1 else f"customers-{shard:03d}.lmdb"


def table_kind(name: str) -> int | None:
    """Kind of table that a file name of a snapshot stands for; None for other files.

    >>> table_kind("customers-003.lmdb") == CUSTOMERS, table_kind("model.msgpack")
    (True, None)
    """
    if not name.endswith(".lmdb"):
        return None
    kinds = {"contexts": CONTEXTS, "items": ITEMS, "offers": OFFERS, "customers": CUSTOMERS}
    return kinds.get(name.removesuffix(".lmdb").partition("-")[0])


def shard_of(key: bytes, n_shards: int) -> int:
    """Shard that holds a customer key: its top bits; `n_shards` is a power of two up to 256.

    >>> shard_of(bytes([0x80]) + bytes(15), 4)
    2
    """
    return key[0] * n_shards >> 8


def customer_key(secret: bytes, customer_id: str) -> bytes:
    """Table key of a customer: BLAKE2b-128 keyed with the brand's secret.

    Args:
        secret: 16 to 64 bytes, known to the builder and the edge, never in a snapshot.
        customer_id: the shop's own id, any text.

    Returns:
        16 bytes. Without the secret neither the id can be read back nor a guess be checked.
    """
    return customer_keys(secret)(customer_id)


def customer_keys(secret: bytes) -> Callable[[str], bytes]:
    """`customer_key` for many customers of a brand: the digest is begun with the secret once."""
    begun = blake2b(digest_size=KEY_BYTES, key=secret)

    def key_of(customer_id: str) -> bytes:
        digest = begun.copy()
        digest.update(_text_bytes(customer_id))
        return digest.digest()

    return key_of


def secret_check(secret: bytes) -> str:
    """Fingerprint that tells whether two secrets are the same, without telling the secret."""
    return blake2b(b"almanac secret check", digest_size=8, key=secret).hexdigest()


def item_key(item_id: str) -> bytes:
    """Table key of an item: BLAKE2b-128 of its id (ids of items are no secret)."""
    digest = _ITEM_DIGEST.copy()
    digest.update(_text_bytes(item_id))
    return digest.digest()


def row_key(row: int) -> bytes:
    """Table key of a row number: 4 bytes, big-endian, so that keys sort as numbers do."""
    return row.to_bytes(4, "big")


def _text_bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Lone surrogates reach us through JSON escapes; they must not raise on the request path.
        return text.encode("utf-8", "surrogatepass")
