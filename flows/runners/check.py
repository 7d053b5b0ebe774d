"""Result of one check before work starts: the finding, and the remedy if the check failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweepflow.errors import ConfigError


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes:
        name: Name of the check, in a word or two.
        ok: Whether the check passed.
        words: The finding, or the error.
        remedy: Action to take if the check failed.
        got: Value that was found.
        allowed: Values that would be right.
        must: Whether work is refused if the check failed; otherwise the failure is only reported.
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
        """The failure as an error."""
        return ConfigError(self.words, got=self.got or None, allowed=self.allowed, do=self.remedy)

    @property
    def text(self) -> str:
        """The failure as text."""
        return str(self.error)


def refuse(checks: Sequence[Check]) -> None:
    """Refuse to go on if a required check failed.

    Raises:
        ConfigError: with all required checks that failed, each with its remedy.
    """
    failed = [check for check in checks if check.must and not check.ok]
    if len(failed) == 1:
        raise failed[0].error
    if failed:
        listed = "\n".join(check.text for check in failed)
        raise ConfigError(f"{len(failed)} things have to be mended before any work starts\n{listed}")
