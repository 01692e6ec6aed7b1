"""A folder of keys and roots, as `almanac keys` keeps it.

    DIR/trust/<n>.root.json             roots; copied to the store as they are
    DIR/keys/<role>-<12 of the id>.pem  private keys, mode 0600; moved to where each is needed
    DIR/keys/<role>-<12 of the id>.pub  public keys

Nothing is ever overwritten. Keys are written before the root that names them, so that a root that
can be read always names keys that exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from index.shipping.disk import full_disk
from index.shipping.documents import ROLES, ROOT, Role
from index.shipping.durable import create_file
from index.shipping.key_files import read_private_key, write_key
from index.shipping.root import Root, first_root, make_root, next_root, seal_root
from index.shipping.signing import SigningKey
from index.shipping.store_errors import DiskFull
from index.shipping.trust_errors import (
    AlreadyWritten,
    BadKeyFile,
    BrokenRootChain,
    KeyNotFound,
    KeysRefused,
    TrustError,
)
from index.wording import many

_ROOT_NAME: Final = re.compile(r"([1-9]\d*)\.root\.json")
_SHORT: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is about to be written.

    Attributes:
        root: the root.
        envelope: the root, signed.
        new_keys: new private keys with the role of each.
    """

    root: Root
    envelope: bytes
    new_keys: Sequence[tuple[Role, SigningKey]]


def root_path(folder: Path, version: int) -> Path:
    """Where the folder keeps this version of the root."""
    return folder / "trust" / f"{version}.root.json"


def key_path(folder: Path, role: Role, name: str) -> Path:
    """Where the folder keeps the private key with this id."""
    return folder / "keys" / f"{role}-{name[:_SHORT]}.pem"


def read_roots(folder: Path) -> list[Root]:
    """Every root of the folder, each checked to follow from the one before.

    Raises:
        KeyNotFound: there is none.
        BrokenRootChain: one is missing, or does not follow.
        TrustError: one is damaged.
    """
    return [root for root, _ in _chain(folder)]


def root_envelopes(folder: Path) -> list[bytes]:
    """The same roots as they are signed.

    Raises:
        KeyNotFound, BrokenRootChain, TrustError: see `read_roots`.
    """
    return [envelope for _, envelope in _chain(folder)]


def _chain(folder: Path) -> list[tuple[Root, bytes]]:
    found = (_ROOT_NAME.fullmatch(path.name) for path in (folder / "trust").glob("*.root.json"))
    versions = sorted(int(match[1]) for match in found if match)
    if not versions:
        raise KeyNotFound(
            "has no root", path=folder, hint=f"make keys first: almanac keys init {folder}"
        )
    if versions != list(range(1, len(versions) + 1)):
        raise BrokenRootChain(
            f"there are roots {', '.join(map(str, versions))}: the chain has a gap",
            path=folder,
            hint="copy the missing roots back, out of the store",
        )
    chain: list[tuple[Root, bytes]] = []
    for version in versions:
        path = root_path(folder, version)
        data = _read_root(path)
        try:
            root = next_root(chain[-1][0], data) if chain else first_root(data)
            if root.version != version:
                raise BrokenRootChain(f"is root {root.version}, its name says {version}")
        except TrustError as problem:
            problem.path = path
            raise
        chain.append((root, data))
    return chain


def role_keys(folder: Path, root: Root, role: Role) -> list[SigningKey]:
    """The private keys of a role that are here: enough of them to sign.

    Raises:
        KeyNotFound: fewer than the root asks for.
        BadKeyFile: others than its owner may use one, or it is another key than its name says.
    """
    asked = root.roles[role]
    paths = [key_path(folder, role, name) for name in asked.key_ids]
    keys = [
        _named(path, name) for path, name in zip(paths, asked.key_ids, strict=True) if path.exists()
    ]
    if len(keys) < asked.threshold:
        raise KeyNotFound(
            _too_few(root, role, len(keys)),
            path=folder / "keys",
            hint=f"copy {paths[0].name} here, from the machine that signs for {role}",
        )
    return keys


def _too_few(root: Root, role: Role, n_here: int) -> str:
    asked, here = many(root.roles[role].threshold, "key"), many(n_here, "is here", "are here")
    return f"root {root.version} asks for {asked} of role {role}, {here}"


def _named(path: Path, key_id: str) -> SigningKey:
    """The private key of a file, if it is the one the root means.

    What another key signs is refused by every reader, and would stand where the last good document
    stood.
    """
    key = read_private_key(path)
    if key.key_id != key_id:
        raise BadKeyFile(
            f"holds the key {key.key_id[:12]}…, not the one it is named after",
            path=path,
            hint="bring the right file from where `almanac keys` wrote it",
        )
    return key


def plan_init(
    folder: Path,
    *,
    root_keys: int,
    threshold: int,
    issued_at: datetime,
    expires_at: datetime,
) -> Plan:
    """New keys for every role, and a first root that names them.

    Raises:
        AlreadyWritten: the folder has a root.
        KeysRefused: the threshold is above the number of root keys.
    """
    if any((folder / "trust").glob("*.root.json")):
        raise AlreadyWritten(
            "has a root, and roots are never overwritten",
            path=folder,
            hint="name a new folder, or replace a key: almanac keys rotate DIR --role ROLE",
        )
    if threshold > root_keys:
        raise KeysRefused(
            f"{threshold} of {root_keys} root keys could never sign",
            hint="raise --root-keys, or lower --threshold",
        )
    keys = [
        (role, SigningKey.generate())
        for role in ROLES
        for _ in range(root_keys if role == "root" else 1)
    ]
    root = make_root(
        {role: [key.public for of, key in keys if of == role] for role in ROLES},
        thresholds={"root": threshold},
        version=1,
        issued_at=issued_at,
        expires_at=expires_at,
    )
    signers = [key for role, key in keys if role == "root"]
    return Plan(root=root, envelope=seal_root(root, signers), new_keys=keys)


def plan_rotation(
    folder: Path,
    *,
    role: Role | None,
    replace: str | None,
    root_key_files: Iterable[Path],
    issued_at: datetime,
    expires_at: datetime,
) -> Plan:
    """The next root: with a new key in place of an old one of the role, or only with more time.

    Args:
        folder: where keys and roots lie.
        role: whose key is replaced; None keeps all.
        replace: how the old key's id begins; may be None when the role has one key.
        root_key_files: root keys that lie elsewhere than in the folder.
        issued_at: the moment of the change.
        expires_at: end of the new root.

    Raises:
        KeyNotFound: no such key to replace, or too few private root keys are here.
        BadKeyFile: a private key others can read.
    """
    current = read_roots(folder)[-1]
    publics = {of: [current.publics[name] for name in current.roles[of].key_ids] for of in ROLES}
    new_keys: list[tuple[Role, SigningKey]] = []
    if role is not None:
        old = current.publics[_replaced(current, role, replace)]
        new_keys.append((role, SigningKey.generate()))
        publics[role] = [new_keys[0][1].public if one == old else one for one in publics[role]]
    root = make_root(
        publics,
        thresholds={of: current.roles[of].threshold for of in ROLES},
        version=current.version + 1,
        issued_at=issued_at,
        expires_at=expires_at,
    )
    signers = _root_signers(folder, current, root_key_files)
    signers |= {key.key_id: key for of, key in new_keys if of == "root"}
    _require_enough(signers, current, root)
    return Plan(root=root, envelope=seal_root(root, list(signers.values())), new_keys=new_keys)


def write_plan(folder: Path, plan: Plan) -> list[Path]:
    """Write keys, then the root; what can't be written whole leaves nothing.

    Returns:
        The private keys and the root, in the order they were written.

    Raises:
        AlreadyWritten: a file of that name exists.
        DiskFull: the disk is full.
        BadKeyFile: the folder cannot be written to.
    """
    path = root_path(folder, plan.root.version)
    written: list[Path] = []
    try:
        (folder / "keys").mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.mkdir(exist_ok=True)
        for role, key in plan.new_keys:
            name = key_path(folder, role, key.key_id)
            write_key(name, key)
            written.append(name)
        create_file(path, plan.envelope)
    except (OSError, TrustError, DiskFull) as problem:
        _take_back(folder, written)
        if isinstance(problem, FileExistsError):
            raise AlreadyWritten("exists, and roots are never overwritten", path=path) from problem
        if not isinstance(problem, OSError):
            raise
        if full := full_disk(problem, folder):
            raise full from problem
        raise BadKeyFile(f"cannot be written to ({problem.strerror})", path=folder) from problem
    return [*written, path]


def _take_back(folder: Path, written: Iterable[Path]) -> None:
    """Remove keys that no root names, and folders that hold nothing."""
    for path in written:
        path.unlink()
        path.with_suffix(".pub").unlink()
    for empty in (folder / "keys", folder / "trust", folder):
        with suppress(OSError):
            empty.rmdir()


def _read_root(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(ROOT.max_bytes + 1)
    except OSError as problem:
        raise BadKeyFile(f"cannot be read ({problem.strerror})", path=path) from problem


def _replaced(current: Root, role: Role, begins: str | None) -> str:
    names = current.roles[role].key_ids
    matching = [name for name in names if name.startswith(begins or "")]
    if len(matching) == 1:
        return matching[0]
    listed = ", ".join(name[:_SHORT] for name in names)
    raise KeyNotFound(
        f"{len(matching)} keys of role {role} have an id that begins with {begins or ''!r}",
        hint=f"say which one with --replace: {listed}",
    )


def _root_signers(folder: Path, current: Root, elsewhere: Iterable[Path]) -> dict[str, SigningKey]:
    """Private root keys of the root in use that can be read here."""
    ours = current.roles["root"].key_ids
    paths = [key_path(folder, "root", name) for name in ours]
    keys = [read_private_key(path) for path in (*filter(Path.exists, paths), *elsewhere)]
    return {key.key_id: key for key in keys if key.key_id in ours}


def _require_enough(signers: Mapping[str, SigningKey], current: Root, root: Root) -> None:
    for which in (current, root):
        keys = which.roles["root"]
        have = [name for name in keys.key_ids if name in signers]
        if len(have) < keys.threshold:
            lacking = ", ".join(name[:_SHORT] for name in keys.key_ids if name not in signers)
            raise KeyNotFound(
                _too_few(which, "root", len(have)),
                hint=f"bring some of {lacking}: --root-key FILE for each",
            )
