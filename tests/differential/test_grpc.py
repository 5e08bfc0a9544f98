# SPDX-License-Identifier: Apache-2.0
"""The gRPC door against the real Triton's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from comparing import grpc_requests
from comparing.verdict import examples
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from comparing.grpc_calls import GrpcRequest
    from comparing.verdict import Judge


@examples(45)
@given(request=grpc_requests.inference())
def test_inference(judge: Judge, request: GrpcRequest) -> None:
    judge.check(request)


@pytest.mark.slow
@examples(10)
@given(request=grpc_requests.streaming())
def test_streaming(judge: Judge, request: GrpcRequest) -> None:
    judge.check(request)


@examples(30)
@given(request=grpc_requests.reading())
def test_reading(judge: Judge, request: GrpcRequest) -> None:
    judge.check(request)


@examples(4)
@given(requests=grpc_requests.trace_settings())
def test_trace_settings(judge: Judge, requests: list[GrpcRequest]) -> None:
    judge.check(*requests)


@pytest.mark.slow
@examples(4)
@given(requests=grpc_requests.log_settings())
def test_log_settings(judge: Judge, requests: list[GrpcRequest]) -> None:
    judge.check(*requests)


@examples(3)
@given(requests=grpc_requests.repository())
def test_repository(judge: Judge, requests: list[GrpcRequest]) -> None:
    judge.check(*requests)


@examples(4)
@given(data=st.data())
def test_shared_memory(judge: Judge, segment: str, data: st.DataObject) -> None:
    judge.check(*data.draw(grpc_requests.shared_memory(segment)))
