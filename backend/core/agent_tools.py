"""Tools for working with other agents and with tools."""

from typing import Any

from core.tools import ToolContext, tool


@tool(
    "Find tools by words of their name or description.",
    query={"type": "string", "description": "words, all of which must occur"},
)
def search_tools(context: ToolContext, query: str) -> list[dict[str, str]]:
    """The tools that fit a query."""
    return [
        {"name": each.name, "description": each.description} for each in context.tools.search(query)
    ]


@tool(
    "Give a task to another registered agent, which acts with its own maturity.",
    agent={"type": "string", "description": "the agent's name or id"},
    task={"type": "string", "description": "what it should do"},
)
async def delegate_task(context: ToolContext, agent: str, task: str) -> dict[str, Any]:
    """How the other agent's run ended."""
    return await context.delegate(agent, task)


TOOLS = [search_tools, delegate_task]
