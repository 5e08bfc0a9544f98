# SPDX-License-Identifier: Apache-2.0
"""The HTTP door against the real Triton's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from comparing import http_requests
from comparing.verdict import examples
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from comparing.http_exchange import HttpRequest
    from comparing.verdict import Judge


@examples(80)
@given(request=http_requests.inference())
def test_inference(judge: Judge, request: HttpRequest) -> None:
    judge.check(request)


@examples(10)
@given(request=http_requests.raw_inference())
def test_body_of_one_tensor(judge: Judge, request: HttpRequest) -> None:
    judge.check(request)


@examples(25)
@given(request=http_requests.generation())
def test_generate(judge: Judge, request: HttpRequest) -> None:
    judge.check(request)


@examples(40)
@given(request=http_requests.reading())
def test_reading(judge: Judge, request: HttpRequest) -> None:
    judge.check(request)


@examples(4)
@given(requests=http_requests.trace_settings())
def test_trace_settings(judge: Judge, requests: list[HttpRequest]) -> None:
    judge.check(*requests)


@pytest.mark.slow
@examples(4)
@given(requests=http_requests.log_settings())
def test_log_settings(judge: Judge, requests: list[HttpRequest]) -> None:
    judge.check(*requests)


@examples(4)
@given(requests=http_requests.repository())
def test_repository(judge: Judge, requests: list[HttpRequest]) -> None:
    judge.check(*requests)


@examples(4)
@given(data=st.data())
def test_shared_memory(judge: Judge, segment: str, data: st.DataObject) -> None:
    judge.check(*data.draw(http_requests.shared_memory(segment)))
