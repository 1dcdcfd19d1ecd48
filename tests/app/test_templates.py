"""What templates ask htmx for."""

import re
from pathlib import Path

TEMPLATES = Path(__file__).resolve().parents[2] / "app" / "templates"


def test_what_fills_the_dialog_or_the_drawer_says_that_it_fills_it() -> None:
    """Inside a live table a swap left out is that table's own, which replaces the dialog by a bare form."""
    silent = [
        f"{path.relative_to(TEMPLATES)}: {element}"
        for path in sorted(TEMPLATES.rglob("*.html"))
        for element in re.findall(r'<\w+ [^>]*hx-target="#(?:dialog|drawer)"[^>]*>', path.read_text())
        if "innerHTML" not in element
    ]
    assert silent == []


def test_every_dialog_has_the_button_that_rests_while_its_form_is_sent() -> None:
    submits = {
        str(path.relative_to(TEMPLATES)): found.group(1)
        for path in sorted(TEMPLATES.rglob("*.html"))
        if path.parent.name != "_frames"
        and (found := re.search(r"{% block submit %}(.*?){% endblock %}", path.read_text(), re.DOTALL))
    }
    assert "bulk/action.html" in submits
    assert [name for name, button in submits.items() if 'class="button primary' not in button] == []
