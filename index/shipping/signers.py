"""Who signs at this machine, and whom it trusts: the flags that all shipping commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from index.shipping.documents import Role
from index.shipping.keyring import read_roots, role_keys, root_envelopes
from index.shipping.root import Root
from index.shipping.signing import SigningKey
from index.shipping.trust_errors import NoRoot


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """Whom to trust, and who signs.

    Args:
        keys: folder that `almanac keys init` wrote, with at least its roots and the private key of
            the role that signs; ALMANAC_KEYS by default.
        insecure: sign nothing and trust anyone. Nodes refuse what nobody signed unless they were
            told the same.
    """

    keys: Annotated[Path | None, Parameter(env_var="ALMANAC_KEYS")] = None
    insecure: Annotated[bool, Parameter(negative=())] = False

    def chain(self) -> Sequence[Root] | None:
        """All roots here, the newest last; None when anyone is trusted.

        Raises:
            NoRoot: nobody said whom to trust.
            TrustError: the roots here are damaged.
        """
        folder = self._folder()
        return None if folder is None else read_roots(folder)

    def of(self, role: Role) -> Sequence[SigningKey]:
        """The keys that sign for a role; none when nothing is signed.

        Raises:
            NoRoot, KeyNotFound, BadKeyFile: see `keyring.role_keys`.
        """
        folder = self._folder()
        return [] if folder is None else role_keys(folder, read_roots(folder)[-1], role)

    def envelopes(self) -> Sequence[bytes]:
        """All signed roots here; none when anyone is trusted."""
        folder = self._folder()
        return [] if folder is None else root_envelopes(folder)

    def _folder(self) -> Path | None:
        # A folder in the environment yields to the flag: it may be there for other commands.
        if self.insecure:
            return None
        if self.keys is None:
            raise NoRoot(
                "nobody said whom to trust",
                hint="give --keys DIR (made by `almanac keys init DIR`), or say --insecure",
            )
        return self.keys


NOBODY: Final = Signers()
"""Nobody was said to sign: what commands begin with."""
