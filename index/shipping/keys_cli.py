"""`almanac keys`: make keys and roots, replace them, tell whom a fleet trusts."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from index.json_text import json_text
from index.shipping.documents import ROLES, Role, moment_now
from index.shipping.keyring import (
    Plan,
    key_path,
    plan_init,
    plan_rotation,
    read_roots,
    root_path,
    write_plan,
)
from index.shipping.root import Root

Days = Annotated[int, Parameter(validator=Number(gte=1, lte=36500))]
Few = Annotated[int, Parameter(validator=Number(gte=1, lte=16))]
SeveralFiles = Annotated[list[Path], Parameter(negative=())]


def init(
    folder: Path,
    *,
    root_keys: Few = 1,
    threshold: Few = 1,
    days: Days = 365,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Make the keys of a fleet, and the first root.

    One key for each of builder, release, overlay and node, and root keys that vouch for them. Give
    every node `trust/1.root.json`; move the root keys to where no network reaches, and each other
    private key to the one machine that signs with it. Files are never overwritten: a folder that
    has a root ends the command with exit code 6. Killed half way, it leaves keys that no root
    names; run it again.

        almanac keys init shop-keys/ --root-keys 3 --threshold 2

    Args:
        folder: where keys and roots are written.
        root_keys: how many root keys there are.
        threshold: how many of them must sign each later root.
        days: until the root ends, and nodes stop updating unless there is a next one.
        dry_run: check everything and tell what would be written, without writing.
        json: print one JSON object instead of lines.
    """
    now = moment_now()
    plan = plan_init(
        folder,
        root_keys=root_keys,
        threshold=threshold,
        issued_at=now,
        expires_at=now + timedelta(days=days),
    )
    _carry_out(folder, plan, dry_run=dry_run, json=json)


def rotate(
    folder: Path,
    *,
    role: Role | None = None,
    replace: str | None = None,
    root_key: SeveralFiles | None = None,
    days: Days = 365,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Replace a key by the next root, or give the same keys more time.

    The new root is signed by the threshold of the root in use and by its own. Publish it before
    anything is signed with the new key. When a release key is replaced, nodes forget how high its
    epochs were, so that epochs pushed up with a stolen key hold nobody back. Ends with exit code 4
    when too few root keys are here, 2 when others can read one, 6 when the root is there already.

        almanac keys rotate shop-keys/ --role release

    Args:
        folder: where keys and roots lie.
        role: whose key is replaced; without it, all stay and only the end moves.
        replace: how the old key's id begins, when the role has several.
        root_key: a private root key that lies elsewhere; once for each.
        days: until the new root ends.
        dry_run: check everything and tell what would be written, without writing.
        json: print one JSON object instead of lines.
    """
    now = moment_now()
    plan = plan_rotation(
        folder,
        role=role,
        replace=replace,
        root_key_files=root_key or [],
        issued_at=now,
        expires_at=now + timedelta(days=days),
    )
    _carry_out(folder, plan, dry_run=dry_run, json=json)


def show(folder: Path, *, json: bool = False) -> None:
    """Check the chain of roots and tell whom the newest one trusts.

    Reads only. Ends with exit code 3 when a root does not follow from the one before, and 4 when
    there is none. An expired root is told, and is no error here.

        almanac keys show shop-keys/

    Args:
        folder: where keys and roots lie.
        json: print one JSON object instead of lines.
    """
    root = read_roots(folder)[-1]
    if json:
        print(json_text(_told(root, folder)))
        return
    print(f"root {root.version}, issued {_day(root.issued_at)}, {_end(root)}")
    for role in ROLES:
        keys = root.roles[role]
        print(f"{role}: {keys.threshold} of {len(keys.key_ids)}")
        for name in keys.key_ids:
            here = "  (private key here)" if key_path(folder, role, name).exists() else ""
            print(f"  {name}{here}")


def _carry_out(folder: Path, plan: Plan, *, dry_run: bool, json: bool) -> None:
    if dry_run:
        # Ids of keys that are thrown away would only mislead.
        paths = [folder / "keys" / f"{role}-….pem" for role, _ in plan.new_keys]
        paths.append(root_path(folder, plan.root.version))
    else:
        paths = write_plan(folder, plan)
    if json:
        print(
            json_text(
                {
                    "written": not dry_run,
                    "files": [str(path) for path in paths],
                    "root_version": plan.root.version,
                    "expires_at": plan.root.expires_at.isoformat(),
                }
            )
        )
        return
    for path in paths:
        print(f"{'would write' if dry_run else 'wrote'} {path}")
    print(f"root {plan.root.version}, {_end(plan.root)}")


def _told(root: Root, folder: Path) -> dict[str, Any]:
    return {
        "root_version": root.version,
        "issued_at": root.issued_at.isoformat(),
        "expires_at": root.expires_at.isoformat(),
        "expired": root.expires_at <= moment_now(),
        "roles": {
            role: {
                "threshold": root.roles[role].threshold,
                "key_ids": root.roles[role].key_ids,
                "private_keys_here": [
                    name
                    for name in root.roles[role].key_ids
                    if key_path(folder, role, name).exists()
                ],
            }
            for role in ROLES
        },
    }


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _end(root: Root) -> str:
    word = "EXPIRED" if root.expires_at <= moment_now() else "ends"
    return f"{word} {_day(root.expires_at)}"
