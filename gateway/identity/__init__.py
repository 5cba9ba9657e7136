"""Checking credentials: API keys against hashes, tokens against an issuer's keys, which are fetched and kept fresh.

`authenticator` is what calls use; `tokens` verifies, `keys` reads public keys, `jwks` fetches them. PyJWT, cryptography
and aiohttp's client are imported only when a policy has a scheme that needs them, and their errors stop here.
"""
