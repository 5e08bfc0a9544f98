# SPDX-License-Identifier: Apache-2.0
"""What a long run must have met and done; comes after the files that ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from comparing import SCALE

if TYPE_CHECKING:
    from comparing.known import KnownDifferences
    from comparing.servers import Pair

LONG_RUN = 5000


@pytest.mark.skipif(SCALE == 1, reason="a quick run does not meet every known difference")
def test_every_known_difference_was_met(pair: Pair, known: KnownDifferences) -> None:
    if pair.request_count < LONG_RUN:
        pytest.skip(f"{pair.request_count} requests are too few to tell")
    stale = known.stale()
    assert not stale, "\n".join(stale)
