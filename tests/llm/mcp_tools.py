"""A server of one tool over stdio, for an agent that is handed it."""

from mcp.server import MCPServer

server = MCPServer("tradeagent")


@server.tool()
def get_portfolio() -> str:
    """Read the portfolio."""
    return "equity 10000"


if __name__ == "__main__":
    server.run("stdio")
