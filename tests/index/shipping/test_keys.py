"""Keys as files, and `almanac keys` as a shell sees it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

from almanac import main
from index.shipping.channel import seal_channel
from index.shipping.durable import create_file, replace_file
from index.shipping.key_files import read_private_key, write_key
from index.shipping.keyring import read_roots
from index.shipping.signing import SigningKey
from index.shipping.trust import TrustStore
from index.shipping.trust_errors import AlreadyWritten, BadKeyFile, KeyNotFound
from tests.index.shipping.repository import BRAND, CHANNEL, Repository

ROOT = Path(__file__).parents[3]

Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def keys(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs `almanac keys`, and tells what a shell would see."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        code = main(["keys", *map(str, words)])
        told = capsys.readouterr()
        return subprocess.CompletedProcess(list(map(str, words)), code, told.out, told.err)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shop-keys"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def shown(keys: Shell, folder: Path) -> dict[str, Any]:
    done = keys("show", folder, "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


# Key files --------------------------------------------------------------------------------------


def test_a_key_comes_back_from_its_file(tmp_path: Path) -> None:
    key, path = SigningKey.generate(), tmp_path / "release.pem"
    write_key(path, key)
    public = load_pem_public_key(path.with_suffix(".pub").read_bytes())

    assert read_private_key(path).key_id == key.key_id
    assert key.key_id == hashlib.sha256(key.public).hexdigest()
    assert public.public_bytes_raw() == key.public  # type: ignore[union-attr]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["release.pem", "release.pub"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o601, 0o620, 0o777])
def test_a_private_key_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "release.pem"
    write_key(path, SigningKey.generate())
    path.chmod(mode)

    with pytest.raises(BadKeyFile, match=f"has mode {mode:04o}") as caught:
        read_private_key(path)
    assert caught.value.exit_code == 2
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(f"chmod 600 {path}")


def test_a_private_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "release.pem"
    write_key(path, SigningKey.generate())
    before = contents(tmp_path)

    with pytest.raises(AlreadyWritten, match="never overwritten"):
        write_key(path, SigningKey.generate())
    assert contents(tmp_path) == before


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    elliptic = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    path = tmp_path / "odd.pem"
    for content in (b"", b"secret", elliptic, SigningKey.generate().public_pem):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(BadKeyFile, match="holds"):
            read_private_key(path)

    with pytest.raises(KeyNotFound):
        read_private_key(tmp_path / "none.pem")
    with pytest.raises(BadKeyFile, match="cannot be read"):
        read_private_key(tmp_path)


def test_a_private_key_is_not_printed() -> None:
    key = SigningKey.generate()

    assert repr(key) == f"SigningKey({key.key_id[:12]}…)"


def test_a_file_is_replaced_or_created_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"one")
    replace_file(path, b"two")
    with pytest.raises(FileExistsError):
        create_file(path, b"three")

    assert contents(tmp_path) == {"file": b"two"}


# almanac keys init ------------------------------------------------------------------------------


def test_init_makes_keys_of_every_role_and_a_root(keys: Shell, folder: Path) -> None:
    done = keys("init", folder, "--root-keys", 3, "--threshold", 2)
    (root,) = read_roots(folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"root 1, ends {root.expires_at:%Y-%m-%d}"
    assert {role: (len(k.key_ids), k.threshold) for role, k in root.roles.items()} == {
        "root": (3, 2),
        "builder": (1, 1),
        "release": (1, 1),
        "overlay": (1, 1),
        "node": (1, 1),
    }
    for role, named in root.roles.items():
        for name in named.key_ids:
            path = folder / "keys" / f"{role}-{name[:12]}.pem"
            assert read_private_key(path).key_id == name
            assert f"wrote {path}\n" in done.stdout
    assert (root.expires_at - root.issued_at).days == 365


def test_init_never_overwrites(keys: Shell, folder: Path) -> None:
    keys("init", folder)
    before = contents(folder)
    again = keys("init", folder)

    assert (again.returncode, again.stdout) == (6, "")
    assert "never overwritten" in again.stderr
    assert "hint: " in again.stderr
    assert contents(folder) == before


@pytest.mark.parametrize("words", [("init",), ("init", "--root-keys", "2", "--json")])
def test_a_dry_run_writes_nothing(keys: Shell, folder: Path, words: tuple[str, ...]) -> None:
    done = keys(words[0], folder, *words[1:], "--dry-run")

    assert done.returncode == 0
    assert "root-….pem" in done.stdout
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--threshold", 2), "2 of 1 root keys could never sign"),
        (("--root-keys", 0), "Must be >= 1"),
        (("--days", 0), "Must be >= 1"),
        (("--root-keys", "many"), "root-keys"),
    ],
)
def test_wrong_use_is_told(keys: Shell, folder: Path, words: tuple[object, ...], told: str) -> None:
    done = keys("init", folder, *words)

    assert done.returncode == 2
    assert told in done.stderr
    assert not folder.exists()


def test_a_folder_that_can_not_be_written_to_is_told(keys: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = keys("init", tmp_path / "file" / "keys")

    assert done.returncode == 2
    assert f"error: {tmp_path}/file/keys: cannot be written to" in done.stderr


def test_a_full_disk_leaves_no_keys(keys: Shell, small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(16)
    done = keys("init", disk / "shop-keys")

    assert done.returncode == 75
    assert "hint: make room" in done.stderr
    assert list(disk.iterdir()) == []


# almanac keys rotate ----------------------------------------------------------------------------


def test_rotate_replaces_one_key_and_a_node_follows(
    keys: Shell, folder: Path, tmp_path: Path
) -> None:
    keys("init", folder)
    before = contents(folder)
    done = keys("rotate", folder, "--role", "release")
    first, second = read_roots(folder)
    node = TrustStore(tmp_path / "state", root=(folder / "trust" / "1.root.json").read_bytes())
    node.walk_roots(lambda version: read_or_none(folder / "trust" / f"{version}.root.json"))
    (name,) = second.roles["release"].key_ids
    key = read_private_key(folder / "keys" / f"release-{name[:12]}.pem")
    channel = Repository().channel

    assert done.returncode == 0
    assert first.roles["release"] != second.roles["release"]
    for role in ("root", "builder", "overlay", "node"):
        assert first.roles[role] == second.roles[role]
    assert contents(folder).items() > before.items()
    accepted = node.accept_channel(
        seal_channel(channel, [key]), brand=BRAND, channel=CHANNEL, now=channel.issued_at
    )
    assert accepted.trust == "signed"


def read_or_none(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def test_without_a_role_the_same_keys_get_more_time(keys: Shell, folder: Path) -> None:
    keys("init", folder, "--days", 1)
    keys("rotate", folder, "--days", 90)
    first, second = read_roots(folder)

    assert second.roles == first.roles
    assert (second.expires_at - second.issued_at).days == 90


def test_root_keys_are_replaced_one_by_one(keys: Shell, folder: Path) -> None:
    keys("init", folder, "--root-keys", 3, "--threshold", 2)
    unsaid = keys("rotate", folder, "--role", "root")
    old = read_roots(folder)[0].roles["root"].key_ids
    said = keys("rotate", folder, "--role", "root", "--replace", old[1][:8])
    new = read_roots(folder)[-1].roles["root"]

    assert unsaid.returncode == 4
    assert f"--replace: {', '.join(name[:12] for name in old)}" in unsaid.stderr
    assert said.returncode == 0
    assert (new.threshold, [name in old for name in new.key_ids]) == (2, [True, False, True])


def test_root_keys_that_lie_elsewhere_are_brought(
    keys: Shell, folder: Path, tmp_path: Path
) -> None:
    keys("init", folder, "--root-keys", 3, "--threshold", 2)
    safes = []
    for path in sorted((folder / "keys").glob("root-*.pem")):
        safes.append(tmp_path / path.name)
        path.rename(safes[-1])
    before = contents(folder)
    few = keys("rotate", folder, "--role", "builder", "--root-key", safes[0])
    same_twice = keys(
        "rotate", folder, "--role", "builder", "--root-key", safes[0], "--root-key", safes[0]
    )
    assert contents(folder) == before
    enough = keys(
        "rotate", folder, "--role", "builder", "--root-key", safes[0], "--root-key", safes[2]
    )

    for refused in (few, same_twice):
        assert refused.returncode == 4
        assert "root 1 asks for 2 keys of role root, 1 is here" in refused.stderr
    assert enough.returncode == 0
    assert len(read_roots(folder)) == 2


def test_rotate_refuses_a_root_key_others_may_read(keys: Shell, folder: Path) -> None:
    keys("init", folder)
    (path,) = (folder / "keys").glob("root-*.pem")
    path.chmod(0o644)
    done = keys("rotate", folder, "--role", "release")

    assert done.returncode == 2
    assert "has mode 0644" in done.stderr
    assert f"hint: chmod 600 {path}" in done.stderr


def test_rotate_dry_run_checks_and_writes_nothing(keys: Shell, folder: Path) -> None:
    keys("init", folder)
    before = contents(folder)
    done = keys("rotate", folder, "--role", "release", "--dry-run", "--json")

    assert json.loads(done.stdout)["written"] is False
    assert json.loads(done.stdout)["root_version"] == 2
    assert contents(folder) == before


# almanac keys show ------------------------------------------------------------------------------


def test_show_tells_people_and_machines(keys: Shell, folder: Path) -> None:
    keys("init", folder, "--root-keys", 2)
    keys("rotate", folder, "--role", "release")
    (old,) = read_roots(folder)[0].roles["release"].key_ids
    (new,) = read_roots(folder)[1].roles["release"].key_ids
    (folder / "keys" / f"release-{new[:12]}.pem").unlink()
    text, told = keys("show", folder).stdout, shown(keys, folder)

    assert text.startswith("root 2, issued ")
    assert f"release: 1 of 1\n  {new}\n" in text
    assert "root: 1 of 2\n" in text
    assert old not in text
    assert (told["root_version"], told["expired"]) == (2, False)
    assert told["roles"]["release"] == {
        "threshold": 1,
        "key_ids": [new],
        "private_keys_here": [],
    }
    assert len(told["roles"]["root"]["private_keys_here"]) == 2


def test_show_of_nothing_is_not_found(keys: Shell, folder: Path) -> None:
    done = keys("show", folder)

    assert done.returncode == 4
    assert f"hint: make keys first: almanac keys init {folder}" in done.stderr


def damage(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"A" + data[101:])


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        pytest.param(lambda trust: (trust / "2.root.json").unlink(), "has a gap", id="gap"),
        pytest.param(
            lambda trust: damage(trust / "2.root.json"), "/trust/2.root.json: ", id="damage"
        ),
        pytest.param(
            lambda trust: (trust / "3.root.json").replace(trust / "2.root.json"),
            "does not follow",
            id="wrong name",
        ),
    ],
)
def test_show_refuses_a_broken_chain(
    keys: Shell, folder: Path, harm: Callable[[Path], None], told: str
) -> None:
    keys("init", folder)
    keys("rotate", folder)
    keys("rotate", folder)
    harm(folder / "trust")
    done = keys("show", folder)

    assert (done.returncode, done.stdout) == (3, "")
    assert told in done.stderr


def test_help_of_the_group_loads_no_cryptography() -> None:
    code = (
        "import sys, almanac; almanac.main(['--help']); almanac.main(['keys', '--help']);"
        "sys.exit(bool({'securesystemslib', 'cryptography'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert "rotate" in done.stdout
