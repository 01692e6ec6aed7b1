"""The brand's secret: where it comes from, so that builder and edge agree on customer keys."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from index.errors import SecretUnavailable

_MIN_BYTES = 16
_MAX_BYTES = 64


def brand_secret(
    brand: str,
    *,
    secret_file: Path | str | None = None,
    environ: Mapping[str, str] | None = None,
    create: bool = True,
) -> bytes:
    """The secret that keys a brand's customer ids.

    Looked for in this order: `secret_file`; the environment's `ALMANAC_SECRET` (the text itself) or
    `ALMANAC_SECRET_FILE`; `$XDG_CONFIG_HOME/almanac/BRAND.key` (`~/.config` by default), which is
    made with mode 0600, and said so on stderr, when it does not exist. Readers of a snapshot say
    `create=False`: a secret made now opens nothing that was written before.

    Returns:
        16 to 64 bytes.

    Raises:
        SecretUnavailable: it cannot be read, made, or has another length.
    """
    environ = os.environ if environ is None else environ
    if secret_file is not None:
        return _read(Path(secret_file))
    if text := environ.get("ALMANAC_SECRET"):
        return _checked(os.fsencode(text).strip(), where="ALMANAC_SECRET")
    if name := environ.get("ALMANAC_SECRET_FILE"):
        return _read(Path(name))
    path = _default_path(brand, environ)
    return _create(path) if create and not path.exists() else _read(path)


def _default_path(brand: str, environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME")
    config = Path(base) if base else Path(environ.get("HOME") or Path.home()) / ".config"
    return config / "almanac" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', brand)}.key"


def _read(path: Path) -> bytes:
    try:
        return _checked(path.read_bytes().strip(), where=str(path))
    except OSError as problem:
        raise SecretUnavailable(
            f"the brand secret cannot be read ({problem.strerror})",
            path=path,
            hint="give --secret-file, or set ALMANAC_SECRET or ALMANAC_SECRET_FILE",
        ) from problem


def _checked(secret: bytes, *, where: str) -> bytes:
    if not _MIN_BYTES <= len(secret) <= _MAX_BYTES:
        raise SecretUnavailable(
            f"the brand secret in {where} has {len(secret)} bytes, wanted 16 to 64",
            hint="make one with: python3 -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return secret


def _create(path: Path) -> bytes:
    secret = secrets.token_hex(_MAX_BYTES // 2).encode()
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secret + b"\n")
                file.flush()
                os.fsync(file.fileno())
            # Of two processes that start together one wins, and neither reads half a secret.
            path.hardlink_to(aside)
        finally:
            aside.unlink()
    except FileExistsError:
        return _read(path)
    except OSError as problem:
        raise SecretUnavailable(
            f"a new brand secret cannot be written ({problem.strerror})",
            path=path,
            hint="give --secret-file, or set ALMANAC_SECRET or ALMANAC_SECRET_FILE",
        ) from problem
    sys.stderr.write(f"made a new brand secret: {path} (keep it; edges need the same one)\n")
    return secret
