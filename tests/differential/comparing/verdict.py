# SPDX-License-Identifier: Apache-2.0
"""Asks both servers and says whether they agree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from hypothesis import HealthCheck, Phase, settings

from comparing import SCALE
from comparing.answers import Deviation, compare

if TYPE_CHECKING:
    from comparing.known import KnownDifferences
    from comparing.requests import Request
    from comparing.servers import Pair

Test = TypeVar("Test", bound=Callable[..., None])
# What differs from one request to the next in texts that are otherwise the same finding.
_VARIABLE = re.compile(r"\d+|'[^']*'")


def examples(count: int) -> Callable[[Test], Test]:
    """Run a test with `count` examples, the same in every run unless the scale is raised."""
    return settings(
        max_examples=count * SCALE,
        deadline=None,
        derandomize=SCALE == 1,
        database=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@dataclass(repr=False)
class Judge:
    """Puts requests to both servers and knows which differences are meant.

    Parameters
    ----------
    pair : Pair
        The servers.
    known : KnownDifferences
        The differences we stand by.
    is_survey : bool
        Whether to note differences in place of failing at the first.
    """

    pair: Pair
    known: KnownDifferences
    is_survey: bool
    findings: Counter[str] = field(default_factory=Counter)
    _kinds: dict[str, str] = field(default_factory=dict)

    def check(self, *requests: Request) -> None:
        """Ask both servers all of `requests` in turn; every answer must agree.

        Raises
        ------
        AssertionError
            With the request and what differs, unless this is a survey.
        """
        unknown = [text for request in requests for text in self._ask(request)]
        assert not unknown, "\n\n".join(unknown)

    def _ask(self, request: Request) -> list[str]:
        ours, theirs = self.pair.ask(request)
        text = str(request)
        found = [
            each
            for each in compare(ours, theirs)
            if not self.known.covers(text, request.faults, each)
        ]
        reports = [_report(text, each) for each in found]
        if not self.is_survey:
            return reports
        for deviation, report in zip(found, reports, strict=True):
            kind = " | ".join(
                _VARIABLE.sub("#", said)[:120]
                for said in (deviation.aspect, deviation.ours, deviation.theirs)
            )
            self.findings[self._kinds.setdefault(kind, report)] += 1
        return []


def _report(request: str, deviation: Deviation) -> str:
    return (
        f"{request}\n  {deviation.aspect}\n    ours:   {deviation.ours}\n"
        f"    theirs: {deviation.theirs}"
    )
