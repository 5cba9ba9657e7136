"""What the `Content-Type` of an answer says that its body is (RFC 9110 §8.3)."""


def is_event_stream(content_type: str) -> bool:
    """Whether that is a stream of events (WHATWG HTML §9.2.6)."""
    return _media_type(content_type) == "text/event-stream"


def is_document(content_type: str) -> bool:
    """Whether that is one JSON document: no stream of them, whose end may be far away."""
    kind = _media_type(content_type)
    return kind.endswith(("/json", "+json")) and kind != "application/stream+json"


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
