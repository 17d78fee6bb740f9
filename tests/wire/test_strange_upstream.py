"""What is listed where upstream is not quite a llama-server?"""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.llama import entry
from tests.wire.pair import Wire, got


@pytest.mark.parametrize("document", [None, [], "x"])
def test_no_llama_server(fresh: Wire, document: Any) -> None:
    """An upstream that is no llama-server is told as one."""
    documents = {} if document is None else {"/v1/models": document, "/api/tags": document}
    answer = got(fresh, documents, "/v1/models").answer
    assert answer.status == 502
    assert "is it a llama-server?" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "document",
    [
        {"data": None},
        {"data": "x"},
        {"data": 7},
        {"data": [None, 7, {"id": None}, {"id": ["x"]}, {}, {"id": ""}], "models": None},
        {"data": [entry("tiny", meta=None)], "models": None},
        {"data": [entry("tiny", meta={"n_ctx": "many", "size": True}, capabilities="all")], "models": [7]},
        {"data": [entry("tiny", status="x", architecture=[])], "models": {"name": "x"}},
        {"data": [entry("tiny")], "models": [{"model": ["x"]}]},
    ],
)
@pytest.mark.parametrize("path", ["/api/tags", "/v1/models"])
def test_strange_documents(fresh: Wire, path: str, document: Any) -> None:
    """A document of other types than llama-server's costs what is strange in it, never the whole listing."""
    assert got(fresh, {"/v1/models": document}, path).answer.status == 200
