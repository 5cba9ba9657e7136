"""Credentials for upstreams that do not last: tokens of OAuth 2.0, had before they are needed and renewed in time.

`endpoint` asks for a token, `vault` keeps one for all workers of all gateways, sealed; `renewal` keeps one credential
supplied; `supply` is what calls see: all of them, for one policy set. Credentials that last need nothing from here
but their line (`core.access.credentials`).
"""
