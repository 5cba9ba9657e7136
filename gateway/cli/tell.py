"""Commands that only tell: whether files are right, and what may stand in them. Nothing is started."""

import typer


def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    import json

    from gateway.policy.schema import policy_schema

    typer.echo(json.dumps(policy_schema(), indent=2))
