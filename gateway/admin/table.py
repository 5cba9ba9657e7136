"""Every operation of the admin API, in the order of `docs/admin-api.md`."""

from gateway.admin import breaker_orders, connections, counters, health, inforce, reload, switches
from gateway.admin.endpoint import Endpoint
from gateway.admin.openapi import openapi_endpoint

_OPERATIONS: tuple[Endpoint, ...] = (
    *health.ENDPOINTS,
    *inforce.ENDPOINTS,
    *reload.ENDPOINTS,
    *counters.ENDPOINTS,
    *breaker_orders.ENDPOINTS,
    *connections.ENDPOINTS,
    *switches.ENDPOINTS,
)
ENDPOINTS = (*_OPERATIONS, openapi_endpoint(_OPERATIONS))
