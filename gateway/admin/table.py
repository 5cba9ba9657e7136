"""Every operation of the admin API, in the order of `docs/admin-api.md`."""

from gateway.admin.endpoint import Endpoint
from gateway.admin.openapi import openapi_endpoint
from gateway.admin.operations import (
    breaker_orders,
    cache,
    connection_tests,
    connections,
    counters,
    explain,
    health,
    in_force,
    overrides,
    reload,
    repeats,
    status,
    stream,
    switches,
    top,
    webhooks,
)

_OPERATIONS: tuple[Endpoint, ...] = (
    *health.ENDPOINTS,
    *status.ENDPOINTS,
    *top.ENDPOINTS,
    *repeats.ENDPOINTS,
    *stream.ENDPOINTS,
    *in_force.ENDPOINTS,
    *reload.ENDPOINTS,
    *explain.ENDPOINTS,
    *counters.ENDPOINTS,
    *overrides.ENDPOINTS,
    *breaker_orders.ENDPOINTS,
    *connections.ENDPOINTS,
    *connection_tests.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *cache.ENDPOINTS,
    *switches.ENDPOINTS,
)
ENDPOINTS = (*_OPERATIONS, openapi_endpoint(_OPERATIONS))
