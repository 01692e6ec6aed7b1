"""Key files: private keys that only their owner can read, with the public key beside each."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from index.shipping.disk import full_disk
from index.shipping.durable import create_file
from index.shipping.signing import SigningKey
from index.shipping.trust_errors import AlreadyWritten, BadKeyFile, KeyNotFound

PRIVATE_MODE: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MAX_KEY_BYTES: Final = 16 << 10


def read_private_key(path: Path) -> SigningKey:
    """Read a private key: 32 bytes of ed25519 as an unencrypted PKCS#8 PEM.

    Raises:
        KeyNotFound: nothing is there.
        BadKeyFile: group or others may use the file, it cannot be read, or it holds no such key.
    """
    try:
        with path.open("rb") as file:
            # Asked of the open file: a name could be given to another file in between.
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read(_MAX_KEY_BYTES)
    except FileNotFoundError as problem:
        raise KeyNotFound("no private key is there", path=path) from problem
    except OSError as problem:
        raise BadKeyFile(f"cannot be read ({problem.strerror})", path=path) from problem
    if mode & _OTHERS:
        raise BadKeyFile(
            f"has mode {mode:04o}: others than its owner may use this private key",
            path=path,
            hint=f"chmod 600 {path}; if others could have read it, rotate the key",
        )
    try:
        return SigningKey.from_pem(pem)
    except BadKeyFile as problem:
        raise BadKeyFile(
            problem.what, path=path, hint="give a file that `almanac keys` wrote"
        ) from problem


def write_key(path: Path, key: SigningKey) -> None:
    """Write a private key (mode 0600), and its public key beside it with the ending `.pub`.

    Raises:
        AlreadyWritten: a file of that name exists; it is untouched.
        DiskFull: the disk is full.
        BadKeyFile: it could not be written.
    """
    try:
        create_file(path, key.private_pem, mode=PRIVATE_MODE)
        try:
            create_file(path.with_suffix(".pub"), key.public_pem)
        except OSError:
            path.unlink()
            raise
    except FileExistsError as problem:
        raise AlreadyWritten("exists, and keys are never overwritten", path=path) from problem
    except OSError as problem:
        if full := full_disk(problem, path):
            raise full from problem
        raise BadKeyFile(f"cannot be written ({problem.strerror})", path=path) from problem
