# SPDX-License-Identifier: Apache-2.0
"""The differences we know and stand by: ``differences.toml``."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comparing.answers import Deviation

FILE = Path(__file__).resolve().parent.parent / "differences.toml"
_PATTERNS = ("request", "aspect", "ours", "theirs")
_MEMBERS = {*_PATTERNS, "subject", "reason", "rows", "rare"}
# The least of faults of which a server may name the one or the other.
_SEVERAL = 2


@dataclass(frozen=True)
class KnownDifference:
    """One entry; the patterns are searched for, so they need anchors to mean all of a text.

    With `subject` it speaks of requests with several faults only: the pattern is searched for in
    what each server said, its groups are what the fault is about, and both must name another one.
    """

    request: re.Pattern[str]
    aspect: re.Pattern[str]
    ours: re.Pattern[str]
    theirs: re.Pattern[str]
    subject: re.Pattern[str] | None
    reason: str
    rows: tuple[str, ...]
    is_rare: bool

    @classmethod
    def read(cls, entry: dict[str, Any]) -> KnownDifference:
        """Make an entry from its table; a member that is missing matches everything."""
        unknown = entry.keys() - _MEMBERS
        if unknown or not entry.get("reason") or not {"ours", "theirs", "subject"} & entry.keys():
            message = f"differences.toml: an entry needs a reason and a pattern: {entry}"
            raise ValueError(message)
        patterns = {name: re.compile(entry.get(name, ""), re.DOTALL) for name in _PATTERNS}
        subject = re.compile(entry["subject"], re.DOTALL) if "subject" in entry else None
        return cls(
            **patterns,
            subject=subject,
            reason=entry["reason"],
            rows=tuple(entry.get("rows", ())),
            is_rare=entry.get("rare", False),
        )

    def covers(self, request: str, faults: int, deviation: Deviation) -> bool:
        """Tell whether `deviation` is the one this entry speaks of."""
        return bool(
            (self.subject is None or (faults >= _SEVERAL and self._subjects_differ(deviation)))
            and self.aspect.search(deviation.aspect)
            and self.ours.search(deviation.ours)
            and self.theirs.search(deviation.theirs)
            and self.request.search(request)
        )

    def _subjects_differ(self, deviation: Deviation) -> bool:
        assert self.subject is not None
        ours, theirs = (self.subject.search(said) for said in (deviation.ours, deviation.theirs))
        return bool(ours and theirs and ours.groups() != theirs.groups())


@dataclass(repr=False)
class KnownDifferences:
    """All entries, and which of them were met in this run."""

    entries: list[KnownDifference]
    met: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, path: Path = FILE) -> KnownDifferences:
        """Read the file."""
        document = tomllib.loads(path.read_text())
        return cls([KnownDifference.read(entry) for entry in document["difference"]])

    def covers(self, request: str, faults: int, deviation: Deviation) -> bool:
        """Tell whether an entry speaks of `deviation`, and remember which did."""
        for entry in self.entries:
            if entry.covers(request, faults, deviation):
                self.met.add(entry.reason)
                return True
        return False

    def stale(self) -> list[str]:
        """Return the reasons of the entries that nothing met, and that are met in most runs."""
        return [
            entry.reason
            for entry in self.entries
            if entry.reason not in self.met and not entry.is_rare
        ]
