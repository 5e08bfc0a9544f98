# SPDX-License-Identifier: Apache-2.0
import pytest

import check_edges
from check_edges import Edge


def edge(crate: str, dependency: str) -> Edge:
    return Edge(crate, dependency, is_dev=False)


def dev_edge(crate: str, dependency: str) -> Edge:
    return Edge(crate, dependency, is_dev=True)


@pytest.mark.parametrize(
    "allowed",
    [
        edge("tritongw-config", "tritongw-protocol"),
        edge("tritongw-engine", "tritongw-scheduler"),
        edge("tritongw-backend-python", "tritongw-engine"),
        edge("tritongw-server", "tritongw-backend-identity"),
        edge("tritongw-pyext", "pyo3"),
        edge("tritongw-http", "tokio"),
        edge("tritongw-types", "thiserror"),
        dev_edge("tritongw-engine", "tokio"),
        dev_edge("tritongw-http", "tritongw-backend-identity"),
    ],
)
def test_edges_of_the_architecture_pass(allowed: Edge) -> None:
    assert check_edges.problem(allowed) is None


@pytest.mark.parametrize(
    ("forbidden", "reason"),
    [
        (edge("tritongw-types", "tritongw-config"), "no such edge in the architecture"),
        (edge("tritongw-scheduler", "tritongw-engine"), "no such edge in the architecture"),
        (edge("tritongw-backend-python", "tritongw-backend-identity"), "no such edge"),
        (edge("tritongw-http", "tritongw-server"), "no such edge in the architecture"),
        (edge("tritongw-http", "tritongw-grpc"), "these two never know each other"),
        (dev_edge("tritongw-grpc", "tritongw-http"), "these two never know each other"),
        (edge("tritongw-engine", "pyo3"), "Python's types stay in the extension module"),
        (edge("tritongw-engine", "tokio"), "the async runtime lives in the doors"),
        (edge("tritongw-engine", "prost"), "protobuf stops at the edges"),
        (edge("tritongw-novelty", "bytes"), "not in the architecture"),
    ],
)
def test_other_edges_are_reported_with_their_reason(forbidden: Edge, reason: str) -> None:
    text = check_edges.problem(forbidden)
    assert text is not None
    assert text.startswith(forbidden.crate)
    assert reason in text


def test_every_allowed_name_is_itself_in_the_table() -> None:
    named = set().union(*check_edges.ALLOWED.values())
    assert named <= set(check_edges.ALLOWED)


def test_edges_come_from_workspace_members_only() -> None:
    def package(package_id: str, *dependencies: tuple[str, str | None]) -> dict[str, object]:
        listed = [{"name": name, "kind": kind} for name, kind in dependencies]
        return {"id": package_id, "name": package_id, "dependencies": listed}

    metadata = {
        "workspace_members": ["tritongw-types"],
        "packages": [
            package("tritongw-types", ("thiserror", None), ("proptest", "dev")),
            package("serde", ("tokio", None)),
        ],
    }
    assert list(check_edges.edges(metadata)) == [
        Edge("tritongw-types", "thiserror", is_dev=False),
        Edge("tritongw-types", "proptest", is_dev=True),
    ]
