"""A node's settings held against its folder, before anything is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from edge.errors import SettingsRefused
from edge.node.folder import NodeFolder
from edge.node.receipt import Receipt, read_receipt
from edge.node.standing import NodeState
from edge.settings import Name, Settings
from index.shipping.key_files import read_private_key
from index.shipping.store import open_store
from index.shipping.trust import TrustStore
from index.shipping.trust_errors import NotADocument, NotAnEnvelope, TooLarge

_ROOT_HINT: Final = "give the file that `almanac keys init` wrote: trust/1.root.json"


def checked_node(settings: Settings) -> Settings:
    """The settings of a node that follows a channel, with the brand they left to the folder.

    The first root is remembered by this, so that it need not be given again.

    Raises:
        SettingsRefused: no brand is given or known; or the folder is another brand's, or holds
            what nobody vouched for.
        BadAddress: the store's address, or a mirror's.
        KeyNotFound, BadKeyFile: the key for heartbeats.
        NoRoot, BrokenRootChain, TrustError: whom the node should trust is not clear.
        FolderUnusable, FolderDamaged: the node's folder.
    """
    assert settings.store is not None
    for address in (settings.store, *settings.mirrors):
        open_store(address)
    _require_name(settings.node_id)
    if settings.node_key is not None:
        read_private_key(settings.node_key)
    folder = NodeFolder(settings.state_dir)
    folder.make()
    receipts = _receipts(folder, NodeState(settings.state_dir))
    brand = settings.brand or next((receipt.brand for receipt in receipts), None)
    if brand is None:
        raise SettingsRefused(
            "--brand is missing, and the node's folder does not know one yet",
            hint="it is needed at the first start",
        )
    for receipt in receipts:
        _require_ours(receipt, brand, settings)
    root = None if settings.root is None else _read(settings.root)
    try:
        TrustStore(folder.trust, root=root, insecure=settings.insecure)
    except (NotAnEnvelope, NotADocument, TooLarge) as problem:
        raise type(problem)(problem.what, path=settings.root, hint=_ROOT_HINT) from problem
    return replace(settings, brand=brand)


def _receipts(folder: NodeFolder, state: NodeState) -> list[Receipt]:
    """Receipts of what the node may begin with."""
    standing = state.read()
    names = filter(None, (standing.active, standing.last_good))
    return list(filter(None, (read_receipt(folder.snapshot(name)) for name in names)))


def _require_ours(receipt: Receipt, brand: str, settings: Settings) -> None:
    if receipt.brand != brand:
        raise SettingsRefused(
            f"{settings.state_dir} is a node's of brand {receipt.brand}, not of {brand}",
            hint="give every brand's node a folder of its own: --state-dir",
        )
    if receipt.trust == "insecure" and not settings.insecure:
        raise SettingsRefused(
            f"nobody vouched for {receipt.snapshot_id}, which {settings.state_dir} would serve",
            hint="begin with an empty folder (--state-dir), or say --insecure",
        )


def _require_name(node_id: str) -> None:
    try:
        msgspec.convert(node_id, Name)
    except msgspec.ValidationError as problem:
        raise SettingsRefused(
            f"{node_id!r} can't be a node's name",
            hint="give --node-id: up to 100 letters, digits, '.', '_' and '-'",
        ) from problem


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise SettingsRefused(
            f"--root={path} cannot be read ({problem.strerror})",
            hint=_ROOT_HINT,
        ) from problem
