"""The official SDK as a client that can be sent to a page: makes calls one by one, as it is told.

First line on standard input: `{"url", "token", "mode"}`. Then one line a step: `{"call": [name, arguments]}`. Where the server sends the client to a page
`{"page": …}` is told, and the next line says `{"action": "accept" | "decline"}`. Each step is told in a line: `{"result": …}` or `{"error": …}`.
"""

import asyncio
import json
import sys

import httpx2
from mcp import MCPError
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult


def tell(value):
    print(json.dumps(value), flush=True)


async def heard():
    line = await asyncio.to_thread(sys.stdin.readline)
    return json.loads(line) if line else None


async def sent(context, params):
    tell({"page": params.model_dump(mode="json", by_alias=True, exclude_none=True)})
    return ElicitResult(action=(await heard())["action"])


async def main():
    order = await heard()
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {order['token']}"}, timeout=60)
    reached = streamable_http_client(order["url"], http_client=http)
    async with Client(reached, mode=order["mode"], cache=None, elicitation_callback=sent) as client:
        tell({"version": client.protocol_version})
        while (step := await heard()) is not None:
            try:
                called = await client.call_tool(step["call"][0], step["call"][1])
                tell({"result": called.model_dump(mode="json", by_alias=True, exclude_none=True)})
            except MCPError as error:
                tell({"error": error.error.model_dump(mode="json", by_alias=True, exclude_none=True)})


asyncio.run(main())
