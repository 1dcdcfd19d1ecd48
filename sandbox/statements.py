"""SQL text to statements, one by one, as a DBA's tool would run them."""

import re

_TOKEN = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|;|[^;'\"`/-]+|.", re.DOTALL)


def split_statements(sql: str) -> list[str]:
    """Statements without comments and without the semicolon; a semicolon in quotes divides nothing."""
    statements, current = [], ""
    for token in _TOKEN.findall(sql):
        if token == ";":
            statements.append(current.strip())
            current = ""
        elif not token.startswith(("--", "/*")):
            current += token
    statements.append(current.strip())
    return [statement for statement in statements if statement]
