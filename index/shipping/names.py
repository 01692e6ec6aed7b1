"""What documents are called in a store."""

from __future__ import annotations


def root_key(version: int) -> str:
    """Where a version of the root is."""
    return f"trust/{version}.root.json"


def manifest_key(brand: str, snapshot_id: str) -> str:
    """Where a published snapshot's signed manifest is."""
    return f"manifests/{brand}/{snapshot_id}.json"


def channel_key(brand: str, channel: str) -> str:
    """Where a channel is: the one document that changes."""
    return f"channels/{brand}/{channel}.json"


def past_channel_key(brand: str, channel: str, epoch: int) -> str:
    """Where a channel's document of an earlier epoch is kept.

    >>> past_channel_key("shop", "stable", 12)
    'history/shop/stable/000000000012.json'
    """
    return f"history/{brand}/{channel}/{epoch:012d}.json"


def overlay_key(brand: str, channel: str) -> str:
    """Where the overlay of a channel's nodes is."""
    return f"overlays/{brand}/{channel}.json"


def heartbeat_folder(brand: str, channel: str) -> str:
    """Where the nodes of a channel tell how they are, each in a document of its own."""
    return f"heartbeats/{brand}/{channel}"


def heartbeat_key(brand: str, channel: str, node_id: str) -> str:
    """Where one node tells how it is."""
    return f"{heartbeat_folder(brand, channel)}/{node_id}.json"
