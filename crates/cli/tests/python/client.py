"""The official SDK as a client: carries out the steps given on standard input, tells what came of them on standard output.

Input: `{"command": […], "mode": "legacy" | "auto" | a version, "steps": [["list"] | ["call", name, arguments]]}`. Output: `{"version", "steps"}`.
"""

import asyncio
import json
import sys

from mcp import MCPError, StdioServerParameters
from mcp.client.client import Client


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
    command, *args = order["command"]
    server = StdioServerParameters(command=command, args=args)
    async with Client(server, mode=order["mode"], cache=None) as client:
        steps = [await step(client, words) for words in order["steps"]]
        print(json.dumps({"version": client.protocol_version, "steps": steps}))


asyncio.run(main())
