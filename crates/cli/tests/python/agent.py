"""An agent that works with tokens: it finds the token service from the tool server, exchanges what its person gave it with authlib, and calls with the
official SDK, proving its key at each request.

Input, on standard input: `{"url", "agent", "key", "subject", "subject_type", "mandate", "steps"}`; `key` is a private JWK, `subject_type` the last word of
the type. Without `subject` it asks for itself. With `home`, the issuer of its own domain, it asks there for a grant (ID-JAG) and redeems it at the tool
server's token service. `more` are parameters that are sent as well. Output: what came of each step.
"""

import asyncio
import base64
import hashlib
import json
import re
import sys
import time
import uuid

import httpx2
import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import OKPKey
from mcp import MCPError
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TYPE = "urn:ietf:params:oauth:token-type:"


def proof(key, method, url, token=None, nonce=None):
    claims = {"jti": str(uuid.uuid4()), "htm": method, "htu": url, "iat": int(time.time())}
    if token:
        digest = hashlib.sha256(token.encode()).digest()
        claims["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if nonce:
        claims["nonce"] = nonce
    public = {name: value for name, value in key.as_dict(private=False).items() if name in ("kty", "crv", "x")}
    header = {"typ": "dpop+jwt", "alg": "EdDSA", "jwk": public}
    return jwt.encode(header, claims, key, algorithms=["EdDSA"])


class Proving(httpx2.Auth):
    """Shows the token, and a proof of its own with each request; with the nonce that the server gave last."""

    def __init__(self, key, token):
        self.key, self.token, self.nonce, self.asked_for_nonce = key, token, None, 0

    def auth_flow(self, request):
        for _ in range(2):
            url = str(request.url.copy_with(query=None, fragment=None))
            request.headers["Authorization"] = f"DPoP {self.token}"
            request.headers["DPoP"] = proof(self.key, request.method, url, self.token, self.nonce)
            response = yield request
            self.nonce = response.headers.get("DPoP-Nonce", self.nonce)
            if response.status_code != 401 or "use_dpop_nonce" not in response.headers.get("WWW-Authenticate", ""):
                return
            self.asked_for_nonce += 1


def discovered(url):
    """The token service of a tool server, as a client finds it (RFC 9728, RFC 8414)."""
    refused = requests.post(url, json={}, timeout=20)
    challenge = refused.headers["WWW-Authenticate"]
    described = requests.get(re.search('resource_metadata="([^"]+)"', challenge)[1], timeout=20).json()
    assert refused.status_code == 401 and described["resource"] == url, (refused, described)
    issuer = described["authorization_servers"][0]
    service = requests.get(f"{issuer}/.well-known/oauth-authorization-server", timeout=20).json()
    assert service["issuer"] == issuer, service
    return described, service


def session_at(order, key, service):
    session = OAuth2Session(order["agent"], key, token_endpoint_auth_method="private_key_jwt")
    method = PrivateKeyJWT(service["token_endpoint"], {"aud": service["issuer"]}, alg="EdDSA")
    session.register_client_auth_method(method)
    return session


def crossed(order, key, service):
    """A grant of the agent's own domain, and the token that the tool server's gives for it."""
    home = requests.get(f"{order['home']}/.well-known/oauth-authorization-server", timeout=20).json()
    kinds = home["identity_chaining_requested_token_types_supported"]
    asked = {"requested_token_type": kinds[0], "audience": service["issuer"]}
    grant = exchanged({**order, "more": asked}, key, home)
    assert grant["token_type"] == "N_A" and grant["issued_token_type"] == kinds[0], grant
    assert "urn:ietf:params:oauth:grant-profile:id-jag" in service["authorization_grant_profiles_supported"], service
    endpoint = service["token_endpoint"]
    headers = {"DPoP": proof(key, "POST", endpoint)}
    asked = {"assertion": grant["access_token"], "resource": order["url"]}
    return session_at(order, key, service).fetch_token(endpoint, grant_type=JWT_BEARER, headers=headers, **asked)


def exchanged(order, key, service):
    endpoint = service["token_endpoint"]
    session = session_at(order, key, service)
    details = [{"type": "urn:warrantor:mandate", "identifier": order["mandate"]}]
    asked = {"resource": order.get("audience", order["url"]), "authorization_details": json.dumps(details)}
    if "subject" in order:
        grant = EXCHANGE
        asked |= {"subject_token": order["subject"], "subject_token_type": TYPE + order["subject_type"]}
    else:
        grant = "client_credentials"
    asked |= order.get("more", {})
    headers = {"DPoP": proof(key, "POST", endpoint)}
    return session.fetch_token(endpoint, grant_type=grant, headers=headers, **asked)


def dumped(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


async def step(client, words):
    try:
        if words[0] == "list":
            return dumped(await client.list_tools())
        return dumped(await client.call_tool(words[1], words[2]))
    except MCPError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}


async def main():
    order = json.load(sys.stdin)
    key = OKPKey.import_key(order["key"])
    described, service = discovered(order["url"])
    try:
        token = (crossed if "home" in order else exchanged)(order, key, service)
    except Exception as error:  # what authlib raises differs by what is wrong
        print(json.dumps({"refused": str(error), "code": getattr(error, "error", None)}))
        return
    if "audience" in order:
        print(json.dumps({"token": token}))
        return
    proving = Proving(key, token["access_token"])
    http = httpx2.AsyncClient(auth=proving, timeout=20)
    steps = []
    async with Client(streamable_http_client(order["url"], http_client=http), mode=order.get("mode", "auto")) as client:
        for words in order["steps"]:
            steps.append(await step(client, words))
    told = {"steps": steps, "token": token, "nonces": proving.asked_for_nonce, "resource": described}
    print(json.dumps(told))


asyncio.run(main())
