"""`almanac diff`: what is different in another snapshot, and in its decisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from index.batch import requests_of
from index.diff_decisions import Question, Replay, golden_questions, replay
from index.diff_offers import OfferChanges, offer_changes
from index.diff_tables import TableChurn, churn_of
from index.errors import Mixed
from index.generation import Generation
from index.json_text import json_text
from index.layout import customer_key
from index.secret import brand_secret
from index.snapshot import open_snapshot

_NAMED = 5


def diff(
    before: Path,
    after: Path,
    *,
    requests: Path | None = None,
    secret_file: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Tell what is different in a later snapshot: counts, records, offers, decisions.

    Both answer the questions of their golden decisions, or those of a file. Reads only. Ends with
    exit code 3 when one of them is not sound, or they are of two brands.

        almanac diff yesterday/ today/

    Args:
        before: directory of the earlier snapshot.
        after: directory of the later one.
        requests: JSON lines as `almanac decide` takes them, to be asked instead.
        secret_file: the brand's secret, when requests name customers and it is not where builder
            and edge look for it.
        json: print one JSON object instead of lines.
    """
    with open_snapshot(before) as old, open_snapshot(after) as new:
        _require_kin(old, new)
        questions = (
            golden_questions(old, new)
            if requests is None
            else _questions(requests, old.manifest.brand, secret_file)
        )
        churn = [*churn_of(old, new)]
        offers = offer_changes(old, new)
        answers = replay(old, new, questions)
        if json:
            print(json_text(_object(old, new, churn, offers, answers)))
            return
        for line in (
            *_counts(old, new),
            *_tables(churn),
            *_files(old, new),
            *_offers(offers),
            *_decisions(answers),
        ):
            print(line)


def _require_kin(old: Generation, new: Generation) -> None:
    if old.manifest.brand != new.manifest.brand:
        raise Mixed(
            f"is of {new.manifest.brand}, the other of {old.manifest.brand}", path=new.directory
        )
    if old.manifest.secret_check != new.manifest.secret_check:
        raise Mixed(
            "was built with another secret, so its customers can't be compared",
            path=new.directory,
            hint="build both with the brand's secret",
        )


def _questions(path: Path, brand: str, secret_file: Path | None) -> list[Question]:
    asked = [*requests_of(path)]
    if not any(request.customer_id for request in asked):
        return [(None, request) for request in asked]
    secret = brand_secret(brand, secret_file=secret_file, create=False)
    return [
        (customer_key(secret, request.customer_id) if request.customer_id else None, request)
        for request in asked
    ]


def _object(
    old: Generation,
    new: Generation,
    churn: list[TableChurn],
    offers: OfferChanges,
    answers: Replay | None,
) -> dict[str, Any]:
    told = None
    if answers is not None:
        tiers = [{"before": a, "after": b, "n": n} for (a, b), n in answers.tiers.items()]
        told = {**asdict(answers), "tiers": tiers}
    return {
        "before": {"snapshot_id": old.snapshot_id, "counts": old.manifest.counts},
        "after": {"snapshot_id": new.snapshot_id, "counts": new.manifest.counts},
        "tables": [{**asdict(one), "churn": one.churn} for one in churn],
        "files": _file_changes(old, new),
        "offers": asdict(offers),
        "decisions": told,
    }


def _file_changes(old: Generation, new: Generation) -> list[dict[str, Any]]:
    before = {entry.name: entry for entry in old.manifest.files}
    after = {entry.name: entry for entry in new.manifest.files}
    return [
        {
            "name": name,
            "bytes_before": before[name].size if name in before else None,
            "bytes_after": after[name].size if name in after else None,
            "same": name in before and name in after and before[name].sha256 == after[name].sha256,
        }
        for name in sorted(before.keys() | after.keys())
    ]


def _counts(old: Generation, new: Generation) -> Iterator[str]:
    yield f"{old.snapshot_id} → {new.snapshot_id}"
    before, after = old.manifest.counts, new.manifest.counts
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name, 0), after.get(name, 0)
        yield f"  {name:<10} {was:>12,} → {now:>12,}{_change(was, now)}"


def _change(was: int, now: int) -> str:
    if was == now:
        return ""
    return f"  {now - was:+,}" + (f" ({(now - was) / was:+.1%})" if was else "")


def _tables(churn: Sequence[TableChurn]) -> Iterator[str]:
    words = ("same", "changed", "new", "gone")
    yield f"{'records':<12}{''.join(f'{word:>12}' for word in words)}{'bytes put':>16}  churn"
    for one in churn:
        yield (
            f"  {one.table:<10}{one.same:>12,}{one.changed:>12,}{one.added:>12,}{one.removed:>12,}"
            f"{one.put_bytes:>16,}  {one.churn:.1%}"
        )


def _files(old: Generation, new: Generation) -> Iterator[str]:
    yield "files"
    for file in _file_changes(old, new):
        sizes = [file["bytes_before"], file["bytes_after"]]
        was, now = ("none" if size is None else f"{size:,}" for size in sizes)
        yield f"  {file['name']:<20} {was:>14} → {now:>14}{'  same bytes' * file['same']}"


def _offers(changes: OfferChanges) -> Iterator[str]:
    yield "offers"
    for word, ids in (
        ("new", changes.added),
        ("gone", changes.removed),
        ("sold out", changes.sold_out),
        ("back", changes.back),
        ("retold", changes.retold),
    ):
        named = ", ".join(ids[:_NAMED]) + (" …" if len(ids) > _NAMED else "")
        yield f"  {word:<10} {len(ids):>8,}  {named}".rstrip()
    if changes.moved:
        yield f"  {'moved':<10} {changes.moved:>8,}  to another row: what names them changed, too"


def _decisions(answers: Replay | None) -> Iterator[str]:
    if answers is None:
        yield "decisions: neither snapshot has golden ones; give --requests"
        return
    yield f"decisions, {answers.n:,} questions"
    yield f"  {answers.overlap:.1%} of the offers shown are the same"
    yield f"  {answers.same:.1%} same list, {answers.same_first:.1%} same first offer"
    yield f"  empty {answers.empty[0]:.1%} → {answers.empty[1]:.1%}"
    for (was, now), n in answers.tiers.items():
        yield f"  {was if was == now else f'{was} → {now}'}: {n:,}"
    for answer in answers.furthest:
        yield f"  question {answer.question} ({' → '.join(dict.fromkeys(answer.tiers))}):"
        yield f"    {', '.join(answer.before) or 'nothing'}"
        yield f"    {', '.join(answer.after) or 'nothing'}"
