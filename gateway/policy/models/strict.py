"""The common ground of all models."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Unknown keys are errors, values keep their type (no "500" for 500), and nothing changes later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_by_name=False, validate_by_alias=True)


_T = TypeVar("_T")
Items = Annotated[tuple[_T, ...], Field(strict=False)]
"""A list in the file, a tuple in the model."""
