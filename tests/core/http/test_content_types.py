"""What the `Content-Type` of an answer says."""

import pytest

from gateway.core.http.content_types import is_document, is_event_stream


@pytest.mark.parametrize(
    ("content_type", "it_is"),
    [("text/event-stream", True), (" Text/Event-Stream ;charset=utf-8", True), ("", False), ("text/event", False)],
)
def test_what_an_event_stream_is(content_type: str, it_is: bool) -> None:
    assert is_event_stream(content_type) is it_is


@pytest.mark.parametrize(
    ("content_type", "is_one"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        (" application/problem+json ;q=1", True),
        ("application/vnd.api+json", True),
        ("application/stream+json", False),
        ("application/x-ndjson", False),
        ("application/json-seq", False),
        ("text/event-stream", False),
        ("", False),
    ],
)
def test_documents_and_streams_of_them(content_type: str, is_one: bool) -> None:
    assert is_document(content_type) is is_one
