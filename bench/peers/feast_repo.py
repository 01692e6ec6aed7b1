"""A feature store that holds the same lists: loaded here, served by `feast serve` over Redis.

Run by an interpreter that has Feast, never by Almanac's own:
`python feast_repo.py FOLDER REDIS_SOCKET LISTS`. It is given its fastest way: one feature service
whose vectors are computed in advance (`precompute_online`), one feature, and no metrics.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import String

_AT_ONCE = 10_000
_SETTINGS = """\
project: offers
provider: local
registry: {folder}/registry.db
online_store:
  type: redis
  connection_string: "localhost:6379,unix_socket_path={socket}"
offline_store:
  type: file
entity_key_serialization_version: 3
"""


def load(folder: Path, socket: Path, lists: Path) -> None:
    """Declare the store and put every line of a file of lists into it.

    Args:
        folder: becomes a feature repository.
        socket: of redis-server.
        lists: JSON lines with `customer_id` and `offers`, the text of a list.
    """
    folder.mkdir(exist_ok=True)
    (folder / "feature_store.yaml").write_text(_SETTINGS.format(folder=folder, socket=socket))
    frame = pd.DataFrame([json.loads(line) for line in lists.read_text().splitlines()])
    frame["event_timestamp"] = datetime.now(UTC)
    frame.head(1).to_parquet(folder / "lists.parquet")
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="ready",
        entities=[customer],
        schema=[Field(name="customer_id", dtype=String), Field(name="offers", dtype=String)],
        source=FileSource(path=str(folder / "lists.parquet"), timestamp_field="event_timestamp"),
        ttl=timedelta(days=365),
    )
    service = FeatureService(name="offers", features=[view], precompute_online=True)
    store = FeatureStore(repo_path=str(folder))
    store.apply([customer, view, service])
    for start in range(0, len(frame), _AT_ONCE):
        store.write_to_online_store("ready", df=frame[start : start + _AT_ONCE])
    written = store.precompute_feature_service("offers")
    if written != len(frame):
        raise SystemExit(f"{written} of {len(frame)} vectors were computed in advance")


if __name__ == "__main__":
    load(*(Path(word) for word in sys.argv[1:]))
