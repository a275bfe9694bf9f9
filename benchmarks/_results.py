"""Results as JSON that a person can read, and whose changes a diff shows line by line.

A list or a dict stands on one line where it fits, else each entry on a line of its own.
Long lists of numbers are filled like a paragraph.
"""

import json
import textwrap
from pathlib import Path

WIDTH = 120


def save(path, results):
    """Write results to a file; ``path`` may be None."""
    if path is not None:
        Path(path).write_text(_lines(results, 0) + "\n")


def load(path):
    return json.loads(Path(path).read_text())


def _lines(value, indent, taken=0):
    """``taken`` is the width of what stands before the value on its first line."""
    text = json.dumps(value, ensure_ascii=False)
    if indent + taken + len(text) < WIDTH or not isinstance(value, (dict, list)):
        return text
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    if isinstance(value, list) and all(isinstance(v, (int, float)) for v in value):
        inside = " " * (indent + 1)
        filled = textwrap.fill(
            text[1:-1],
            WIDTH,
            initial_indent=inside,
            subsequent_indent=inside,
            break_on_hyphens=False,
        )
        return "\n".join([opening, filled, " " * indent + closing])
    entries = []
    for item in value.items() if isinstance(value, dict) else value:
        name = ""
        if isinstance(value, dict):
            key, item = item
            name = json.dumps(str(key), ensure_ascii=False) + ": "
        entries.append(" " * (indent + 1) + name + _lines(item, indent + 1, len(name)))
    return "\n".join([opening, ",\n".join(entries), " " * indent + closing])
