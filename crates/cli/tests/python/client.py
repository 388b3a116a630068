"""The official SDK as a client: carries out the steps given on standard input, tells what came of them on standard output.

Input: `{"command": […], "mode": "legacy" | "auto" | a version, "steps": [["list"] | ["call", name, arguments]]}`, or `"url"` and `"token"` instead of
the command. Output: `{"version", "steps", "progress"}`.
"""

import asyncio
import json
import sys

import httpx2
from mcp import MCPError, StdioServerParameters
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client


def dumped(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


progress = []


async def heard(done, total, message):
    progress.append([done, total, message])


def reached(order):
    if "url" in order:
        http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {order['token']}"})
        return streamable_http_client(order["url"], http_client=http)
    command, *args = order["command"]
    return StdioServerParameters(command=command, args=args)


async def step(client, words):
    try:
        if words[0] == "list":
            return dumped(await client.list_tools())
        return dumped(await client.call_tool(words[1], words[2], progress_callback=heard))
    except MCPError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}


async def main():
    order = json.load(sys.stdin)
    async with Client(reached(order), mode=order["mode"], cache=None) as client:
        steps = [await step(client, words) for words in order["steps"]]
        print(json.dumps({"version": client.protocol_version, "steps": steps, "progress": progress}))


asyncio.run(main())
