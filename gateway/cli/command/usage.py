"""Wrong options and arguments, told in words that say nothing about the library that found them."""

from typing import Any

import typer
from typer.core import TyperGroup

_OF_THE_LIBRARY = "Value error, "


class Commands(TyperGroup):
    """All commands. What is wrong with an option of any of them comes through here before it is shown: exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix(_OF_THE_LIBRARY)
            raise
