"""Every node test of the ONNX project for the operators that the importer handles."""

from __future__ import annotations

import pytest

import conformance


@pytest.mark.parametrize("name", sorted(conformance.cases()))
def test_node(name: str) -> None:
    result = conformance.run(name)
    if result.status == "unsupported":
        pytest.skip(result.reason)
    assert result.status == "passed", result.reason


@pytest.mark.parametrize("operator", conformance.OPERATORS)
def test_operator_passes_at_least_one_node_test_of_its_own(operator: str) -> None:
    cases = conformance.cases().items()
    own = [name for name, c in cases if {n.op_type for n in c.model.graph.node} == {operator}]
    results = [conformance.run(name) for name in own]
    assert any(r.status == "passed" for r in results), [r.reason for r in results]
