"""One thing that was looked at before work starts: what was found, and what to do where it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweepflow.errors import ConfigError


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: A word or two for it.
        ok: Whether it is as it must be.
        words: What was found, or what is wrong.
        remedy: What to do, where it is wrong.
        got: What was there.
        allowed: What would be right.
        must: Whether work is refused where it is wrong; otherwise it is only said.
    """

    name: str
    ok: bool
    words: str
    remedy: str = ""
    got: str = ""
    allowed: str = ""
    must: bool = True

    @property
    def error(self) -> ConfigError:
        """What is wrong, as an error."""
        return ConfigError(self.words, got=self.got or None, allowed=self.allowed, do=self.remedy)

    @property
    def text(self) -> str:
        """The same as text."""
        return str(self.error)


def refuse(checks: Sequence[Check]) -> None:
    """Refuse to go on where something must be mended.

    Raises:
        ConfigError: with everything that must be, each with its remedy.
    """
    failed = [check for check in checks if check.must and not check.ok]
    if len(failed) == 1:
        raise failed[0].error
    if failed:
        listed = "\n".join(check.text for check in failed)
        raise ConfigError(f"{len(failed)} things have to be mended before any work starts\n{listed}")
