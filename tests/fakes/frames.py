"""How real chat templates write calls of functions."""

from services.engines.local.frames import ANY, Frame

HERMES = Frame(
    mark="<tool_call>",
    head='\n{"name": "',
    between='", "arguments": ',
    link='}\n</tool_call>\n<tool_call>\n{"name": "',
    tail="}\n</tool_call>",
)
LLAMA = Frame(mark="", head='{"name": "', between='", "parameters": ', link=None, tail="}")
ID = ANY * 9
MISTRAL = Frame(
    mark="[TOOL_CALLS]",
    head=' [{"name": "',
    between='", "arguments": ',
    link=f', "id": "{ID}"}}, {{"name": "',
    tail=f', "id": "{ID}"}}]',
)
