"""Bring app/translations up to date with the texts in the code: ``python -m deploy.translations``.

Message ids are the Chinese texts; ``pgettext`` marks one that English says in several ways. New ones are
added empty and listed; the exit code is 1 while one has no English.
"""

import sys
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT: Final = Path(__file__).resolve().parent.parent
METHODS: Final = [("**.py", "python"), ("templates/**.html", "jinja2")]
ENGLISH: Final = ROOT / "app" / "translations" / "en" / "LC_MESSAGES" / "messages.po"
HEADER: Final = """\
# English. Message ids are the Chinese texts as they stand in templates and code.
# make translations adds the new ones and drops those no longer used.
msgid ""
msgstr ""
"Language: en\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

"""


def extract() -> Catalog:
    """Return every text marked for translation in app/."""
    catalog = Catalog()
    found = extract_from_dir(ROOT / "app", METHODS, directory_filter=_is_ours)
    for _path, _line, message, _comments, context in found:
        catalog.add(message, context=context)
    return catalog


def read_english() -> Catalog:
    """Return the English catalog as it stands."""
    with ENGLISH.open("rb") as file:
        return read_po(file, locale="en")


def untranslated() -> list[str]:
    """Return the texts of the code that have no English."""
    english = _strings(read_english())
    return sorted(str(text) for text, context in _strings(extract()) if not english.get((text, context)))


def update() -> None:
    """Write the English catalog anew: all texts of the code, sorted, with the English they had."""
    english = _strings(read_english())
    catalog = Catalog(locale="en")
    for message in extract():
        if message.id:
            string = english.get((str(message.id), message.context), "")
            catalog.add(message.id, string, flags=message.flags, context=message.context)
    with ENGLISH.open("wb") as file:
        file.write(HEADER.encode())
        write_po(file, catalog, omit_header=True, sort_output=True, width=110)


def _strings(catalog: Catalog) -> dict[tuple[str, str | None], str]:
    """Return the translations of a catalog by text and context; '' for none. No text here has a plural."""
    return {(str(one.id), one.context): str(one.string or "") for one in catalog if one.id}


def _is_ours(folder: str) -> bool:
    # The default filter would leave out templates/_macros, for its underscore.
    return not Path(folder).name.startswith(".") and Path(folder).name not in ("static", "__pycache__")


def main() -> int:
    """Update, list what is missing, and return the exit code."""
    update()
    missing = untranslated()
    for text in missing:
        sys.stdout.write(f"no English: {text}\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
