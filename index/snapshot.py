"""Opening a snapshot: everything is checked that can be checked without reading every byte."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from index.errors import Corrupt, SnapshotError, WrongSecret
from index.generation import DAMAGE, Generation
from index.layout import (
    CONTEXTS,
    CONTEXTS_NAME,
    CUSTOMERS,
    ITEMS,
    ITEMS_NAME,
    MODEL_NAME,
    OFFERS,
    OFFERS_NAME,
    VECTORS_NAME,
    customers_name,
    secret_check,
)
from index.manifest import (
    FileEntry,
    Manifest,
    check_digest,
    check_sizes,
    read_manifest,
    require_binding,
)
from index.model import Model, read_model
from index.platform import require_platform
from index.shortage import shortage_in
from index.tables import Table
from index.vectors import OfferVectors


def open_snapshot(path: Path | str, secret: bytes | None = None) -> Generation:
    """Open a snapshot directory for decisions.

    Checks the manifest, format versions, platform, file sizes, the model's digest, each table's
    header, entry count and last page, and that all files come from one build; then brings every
    page into memory, which also proves that it is there. Digests of the tables are left to
    `index.verify`.

    Args:
        path: directory that `almanac build --out` wrote.
        secret: the brand's secret; without it every customer is a new visitor.

    Returns:
        A generation; close it, or use it as a context manager. It may be shared by threads, not by
        forked processes.

    Raises:
        SnapshotError: one class per thing that can be wrong, see `index.errors`.
    """
    directory = Path(path)
    entries: list[FileEntry] = []
    try:
        manifest = read_manifest(directory)
        entries = manifest.files
        return _opened(directory, manifest, secret)
    except (SnapshotError, OSError, MemoryError) as problem:
        if exhausted := shortage_in(problem, directory, entries):
            raise exhausted from problem
        raise


def _opened(directory: Path, manifest: Manifest, secret: bytes | None) -> Generation:
    require_platform(manifest.platform, directory)
    entries = {entry.name: entry for entry in manifest.files}
    model = _open_model(directory, manifest, entries)
    if secret is not None and secret_check(secret) != manifest.secret_check:
        raise WrongSecret(
            f"built with secret {manifest.secret_check}, given was {secret_check(secret)}",
            path=directory,
            hint="give the brand's secret that the builder used (--secret-file or ALMANAC_SECRET)",
        )
    with ExitStack() as opened:
        tables = _Tables(directory, manifest, entries, opened)
        shards = [
            tables.open(customers_name(shard, model.n_shards), CUSTOMERS)
            for shard in range(model.n_shards)
        ]
        contexts = tables.open(CONTEXTS_NAME, CONTEXTS)
        items = tables.open(ITEMS_NAME, ITEMS)
        offers = tables.open(OFFERS_NAME, OFFERS)
        _check_counts(model, shards, offers)
        vectors = _open_vectors(directory, model, entries)
        try:
            generation = Generation(
                directory=directory,
                manifest=manifest,
                model=model,
                secret=secret,
                customers=tuple(shards),
                contexts=contexts,
                items=items,
                offers=offers,
                vectors=vectors,
            )
        except DAMAGE as problem:
            raise Corrupt(f"best offers cannot be read ({problem})", path=directory) from problem
        opened.pop_all()
    return generation


def _listed(name: str, directory: Path, entries: dict[str, FileEntry]) -> FileEntry:
    entry = entries.get(name)
    if entry is None:
        raise Corrupt(f"the manifest lists no {name}", path=directory)
    return entry


def _open_model(directory: Path, manifest: Manifest, entries: dict[str, FileEntry]) -> Model:
    entry = _listed(MODEL_NAME, directory, entries)
    model = read_model(directory / MODEL_NAME)
    require_binding(directory / MODEL_NAME, model.binding, manifest.binding)
    check_sizes(directory, [entry])
    check_digest(directory, entry)
    return model


def _check_counts(model: Model, shards: list[Table], offers: Table) -> None:
    n_customers = sum(table.facts.entries for table in shards)
    for path, found, expected in (
        (shards[0].path, n_customers, model.n_customers),
        (offers.path, offers.facts.entries, model.n_offers),
    ):
        if found != expected:
            raise Corrupt(f"{found} records, the model says {expected}", path=path)


@dataclass(frozen=True, slots=True)
class _Tables:
    """Opens tables of one snapshot; what was opened is closed again when a later one is refused."""

    directory: Path
    manifest: Manifest
    entries: dict[str, FileEntry]
    opened: ExitStack

    def open(self, name: str, kind: int) -> Table:
        entry = _listed(name, self.directory, self.entries)
        # Whose file it is comes before how long it is: a file of another build has another length.
        table = Table(self.directory / name, kind=kind)
        self.opened.callback(table.close)
        require_binding(table.path, table.binding, self.manifest.binding)
        check_sizes(self.directory, [entry])
        facts = table.facts
        if (facts.entries, facts.last_pgno) != (entry.entries, entry.last_pgno):
            raise Corrupt(
                f"{facts.entries} records up to page {facts.last_pgno}, the manifest says "
                f"{entry.entries} up to {entry.last_pgno}",
                path=table.path,
            )
        table.prove()
        return table


def _open_vectors(
    directory: Path, model: Model, entries: dict[str, FileEntry]
) -> OfferVectors | None:
    if model.dim == 0:
        return None
    check_sizes(directory, [_listed(VECTORS_NAME, directory, entries)])
    vectors = OfferVectors(directory / VECTORS_NAME, n_probe=model.n_probe)
    vectors.require_shape(model.n_offers, model.dim)
    vectors.prove()
    return vectors
