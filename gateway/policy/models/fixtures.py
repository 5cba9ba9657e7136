"""What may be written in a fixture file, as pydantic models. The JSON schema for editors is made from them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.policy.models.paths import Pattern
from gateway.policy.models.scalars import HeaderName, Method, OneOrMore, Wait
from gateway.policy.models.strict import Items, Strict

MAX_RECORDS = 1000

Type = Literal["text", "number", "integer", "boolean", "list", "object"]
Members = dict[str, Any]
ListOfRecords = Annotated[Items[Members], Field(max_length=MAX_RECORDS)]


class RecordsModel(Strict):
    """Sample records of one kind, here or in a file, and what a record that is written must have."""

    id: str = Field(default="id", min_length=1, description="the member that tells them apart")
    items: ListOfRecords = ()
    file: str = Field(default="", min_length=1, description="a JSON or YAML list of records")
    required: dict[str, Type] = Field(default={})
    optional: dict[str, Type] = Field(default={})


class AnswerMatch(Strict):
    """Conditions on a call; all must hold. The path is what `strip_prefix` leaves."""

    method: OneOrMore[Method] = ("GET",)
    path: Pattern
    query: dict[str, str] = Field(default={}, description='"*" = present')
    header: dict[HeaderName, str] = Field(default={}, description='"*" = present')


class AnswerModel(Strict):
    """What calls are answered with: a list of records, one of them, a write, or always the same body."""

    match: AnswerMatch
    list_: str = Field(default="", min_length=1, alias="list", description="records, filtered by query, page by page")
    read: str = Field(default="", min_length=1, description="one of these records, by {id} in the path")
    write: str = Field(default="", min_length=1, description="a record is checked and answered, nothing is changed")
    wrap: str | None = Field(default="items", description="the member that holds a list; null = it is all there is")
    page: int = Field(default=50, ge=1, le=MAX_RECORDS)
    most: int = Field(default=100, ge=1, le=MAX_RECORDS)
    status: int | None = Field(default=None, ge=200, le=599)
    headers: dict[HeaderName, str] = Field(default={})
    body: Any = None
    file: str = Field(default="", min_length=1, description="the body, as it is")
    delay: Wait = Field(default=0, description="before the answer begins")


class FixtureFile(Strict):
    """Sample answers in the place of an upstream's."""

    version: Literal[1] = 1
    records: dict[str, RecordsModel] = Field(default={})
    answers: Annotated[Items[AnswerModel], Field(min_length=1)]
