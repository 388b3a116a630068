"""A tool server of the official SDK on streamable HTTP, which speaks both eras. Prints its port, then serves until it is killed.

With `tools` as its argument it prints what it lists instead, as a client of the newer era gets it.
"""

import asyncio
import socket
import sys

import uvicorn
from mcp.client.client import Client
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("fake")


@server.tool()
def greet(name: str) -> str:
    """Greets."""
    return f"Hello, {name}"


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Counts and tells how far it is."""
    for step in range(to):
        await ctx.report_progress(step, to)
    return f"counted to {to}"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("nothing works")


async def listed():
    async with Client(server, cache=None) as client:
        print((await client.list_tools()).model_dump_json(by_alias=True, exclude_none=True))


if sys.argv[1:] == ["tools"]:
    asyncio.run(listed())
else:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="warning")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))
