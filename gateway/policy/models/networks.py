"""Networks, as files name them."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from gateway.policy.findings import quoted
from gateway.policy.models.scalars import Unfit, expect_text


def parse_network(value: object) -> str:
    """An address or a CIDR network."""
    text = expect_text(value, "a network like 10.0.0.0/8")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise Unfit("bad-network", f"{quoted(text)} is not a network", "write it like 10.0.0.0/8") from None
    if "/" in text and not text.lower().startswith(str(network.network_address)):
        raise Unfit("bad-network", f"{quoted(text)} has bits beyond its prefix", f"did you mean '{network}'?")
    return str(network)


Network = Annotated[str, BeforeValidator(parse_network), WithJsonSchema({"type": "string"})]
