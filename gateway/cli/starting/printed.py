"""Commands that print what comes with the gateway: JSON Schemas for editors, the Grafana board."""

from enum import StrEnum
from typing import Annotated

import typer


class SchemaOf(StrEnum):
    """What `schema` describes."""

    POLICIES = "policies"
    SETTINGS = "settings"
    FIXTURES = "fixtures"


def schema(
    of: Annotated[
        SchemaOf, typer.Argument(metavar="WHAT", help="Policy files, the settings file, or fixtures of a sandbox.")
    ] = SchemaOf.POLICIES,
) -> None:
    """Print the JSON Schema of policy files, the settings file or a sandbox's fixtures, for editors."""
    import json

    from gateway.policy.schema import fixtures_schema, policy_schema, settings_schema

    makers = {
        SchemaOf.POLICIES: policy_schema,
        SchemaOf.SETTINGS: settings_schema,
        SchemaOf.FIXTURES: fixtures_schema,
    }
    typer.echo(json.dumps(makers[of](), indent=2))


def dashboard_json() -> None:
    """Print the Grafana board, to import it: Dashboards, New, Import."""
    from gateway.policy.shipped import shipped

    typer.echo(shipped("config/deploy/grafana-dashboard.json").read_text(encoding="utf-8"), nl=False)
