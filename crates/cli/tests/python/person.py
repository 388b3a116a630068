"""A person's MCP client: the official SDK's own OAuth client finds the token service, sends the person there with PKCE, and calls with what it gets.

The person is played too: signs in at the provider, reads the page that asks, answers it. Input, on standard input: `{"url", "client_id", "account", "answer",
"mandate", "steps", "mode"}`; without `mandate` the one that is offered is chosen. With `refresh` the access token is forgotten before the last step, so that the SDK goes on with its
refresh token. With `address` only that is visited, up to where it leads at `callback`. Output: what came of each step, the page, and the tokens.
"""

import asyncio
import html
import json
import re
import sys
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import requests
from mcp import MCPError
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata

CALLBACK = "http://127.0.0.1:3999/callback"


class Kept:
    """What a client keeps: the name that it was given, and its tokens."""

    def __init__(self, client_id):
        self.tokens, self.client = None, OAuthClientInformationFull(client_id=client_id, redirect_uris=[CALLBACK])

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Person:
    """A person at a browser."""

    def __init__(self, order):
        self.order, self.page, self.headers, self.seen, self.back, self.status = order, None, None, [], None, None

    def fields(self, text):
        found = {}
        for tag in re.findall(r"<input[^>]*>", text):
            attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
            if attributes.get("type") == "hidden":
                found[attributes["name"]] = html.unescape(attributes["value"])
        return found

    def visit(self, address):
        browser = requests.Session()
        method, data, headers = "GET", None, {}
        for _ in range(30):
            self.seen.append(address)
            if address.startswith(self.order.get("callback", CALLBACK)):
                if "callback" in self.order:
                    self.status = requests.get(address, timeout=20).status_code
                self.back = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
                return
            answer = browser.request(method, address, data=data, headers=headers, allow_redirects=False, timeout=20)
            method, data, headers = "GET", None, {}
            if answer.is_redirect:
                address = urljoin(address, answer.headers["location"])
                continue
            action = re.search(r'action="([^"]+)"', answer.text)
            if action is None:
                self.page, self.status = answer.text, answer.status_code
                return
            data, method = self.fields(answer.text), "POST"
            # As browsers say it: nowhere, of a page that tells nobody where it is.
            policy = answer.headers.get("referrer-policy", "")
            headers = {"Origin": "null" if policy == "no-referrer" else "{0.scheme}://{0.netloc}".format(urlsplit(address))}
            headers |= self.order.get("forged", {}) if 'name="flow"' in answer.text else {}
            address = urljoin(address, html.unescape(action[1]))
            if 'name="prompt"' in answer.text:
                data["prompt"] = re.search(r'name="prompt" value="([^"]+)"', answer.text)[1]
                if data["prompt"] == "login":
                    data |= {"login": self.order["account"], "password": "x"}
                continue
            self.page, self.headers = answer.text, dict(answer.headers)
            offered = re.findall(r'name="mandate" value="([^"]+)"', answer.text)
            data["answer"] = self.order.get("answer", "allow")
            if self.order.get("mandate", offered):
                data["mandate"] = self.order.get("mandate", offered[0] if offered else None)
        raise RuntimeError("it goes on without end")

    async def sent(self, address):
        await asyncio.to_thread(self.visit, address)

    async def returned(self):
        if self.back is None or "code" not in self.back:
            raise RuntimeError(f"no code: {self.back}")
        return AuthorizationCodeResult(code=self.back["code"], state=self.back.get("state"), iss=self.back.get("iss"))


async def step(client, words):
    try:
        if words[0] == "list":
            return (await client.list_tools()).model_dump(mode="json", by_alias=True, exclude_none=True)
        called = await client.call_tool(words[1], words[2])
        return called.model_dump(mode="json", by_alias=True, exclude_none=True)
    except MCPError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}


def innermost(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def main():
    order = json.load(sys.stdin)
    person, kept = Person(order), Kept(order["client_id"])
    if "address" in order:
        person.visit(order["address"])
        print(json.dumps({"status": person.status, "page": person.page, "back": person.back}))
        return
    metadata = OAuthClientMetadata(
        client_name="test", redirect_uris=[CALLBACK], token_endpoint_auth_method="none", scope=order.get("scope")
    )
    auth = OAuthClientProvider(order["url"], metadata, kept, person.sent, person.returned)
    http = httpx2.AsyncClient(auth=auth, timeout=20)
    told = {"steps": []}
    try:
        transport = streamable_http_client(order["url"], http_client=http)
        async with Client(transport, mode=order.get("mode", "legacy")) as client:
            for at, words in enumerate(order["steps"]):
                if order.get("refresh") and at == len(order["steps"]) - 1:
                    told["first"] = kept.tokens.model_dump(mode="json")
                    auth.context.token_expiry_time = 1
                told["steps"].append(await step(client, words))
    except Exception as error:  # what the SDK raises differs by what is wrong
        told["failed"] = str(innermost(error))
    told |= {"page": person.page, "status": person.status, "headers": person.headers, "back": person.back, "seen": person.seen}
    told["tokens"] = kept.tokens and kept.tokens.model_dump(mode="json")
    print(json.dumps(told))


asyncio.run(main())
