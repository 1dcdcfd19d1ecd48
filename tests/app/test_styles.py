"""Stylesheets, the sprite and templates hold nothing that no other part asks for."""

import re
from pathlib import Path

APP = Path(__file__).resolve().parents[2] / "app"
VENDOR = APP / "static" / "vendor"


def read(*patterns: str) -> str:
    """Return our files of the kinds asked for, one after another."""
    paths = (path for pattern in patterns for path in APP.rglob(pattern) if VENDOR not in path.parents)
    return "\n".join(path.read_text() for path in sorted(paths))


STYLES = re.sub(r"url\([^)]*\)", "", read("*.css"))
ASKING = read("*.html", "*.js", "*.py")


def rules(styles: str) -> set[str]:
    return set(re.findall(r"\.([a-zA-Z][\w-]*)", styles))


def is_asked_for(name: str) -> bool:
    """Return whether a class is written out, or its beginning with an expression after it."""
    beginning = re.escape(name.rpartition("-")[0] + "-")
    return re.search(rf"(?<![\w-])({re.escape(name)}(?![\w-])|{beginning}{{{{)", ASKING) is not None


def test_every_rule_is_of_a_class_that_is_used() -> None:
    of_the_charts = rules((VENDOR / "uplot" / "uPlot.min.css").read_text())
    assert [name for name in sorted(rules(STYLES) - of_the_charts) if not is_asked_for(name)] == []


def test_every_class_has_a_rule_or_is_looked_for() -> None:
    bootstrap = (VENDOR / "bootstrap" / "bootstrap.min.css").read_text()
    known, scripts = rules(STYLES) | rules(bootstrap), read("*.js")
    written = re.findall(r'class="([^"]*)"', re.sub(r"{{.*?}}|{%.*?%}", "\0", read("*.html")))
    names = {name for text in written for name in text.replace("\0", " \0 ").split() if "\0" not in name}
    beginnings = {name for name in names if name.endswith("-")}
    assert [name for name in sorted(names - beginnings - known) if name not in scripts] == []


def test_every_token_is_used() -> None:
    tokens = set(re.findall(r"(--pc-[\w-]+)\s*:", STYLES))
    used = set(re.findall(r"--pc-[\w-]+(?!\s*:|[\w-])", STYLES + ASKING))
    assert sorted(tokens - used) == []


def test_every_icon_of_the_sprite_is_used() -> None:
    icons = re.findall(r'<symbol id="([\w-]+)"', (VENDOR / "icons.svg").read_text())
    assert [name for name in icons if f"'{name}'" not in ASKING and f'"{name}"' not in ASKING] == []


def test_every_import_of_a_template_is_used() -> None:
    unused = []
    for path in sorted((APP / "templates").rglob("*.html")):
        text = re.sub(r"{#.*?#}", "", path.read_text(), flags=re.DOTALL)
        rest = re.sub(r"{% from [^%]*%}", "", text)
        for names in re.findall(r"{% from '[^']+' import ([^%]+?) %}", text):
            called = [name.split(" as ")[-1].strip() for name in names.split(",")]
            unused += [f"{path.name}: {name}" for name in called if not re.search(rf"\b{name}\b", rest)]
    assert unused == []
