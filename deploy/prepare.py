"""``python -m deploy.prepare``: the server's database, its demo rows and its admin, in one process.

What ``flask db upgrade``, ``flask seed-demo`` and ``flask user ensure-admin`` do one by one; together they
cost the start of the demo one import of the server instead of three. Prints the admin's one-time password
if one was made. Exit code 2: the admin's password is refused, and the last line of standard error says why.
"""

import sys

from flask_babel import force_locale
from flask_migrate import upgrade

from app import create_app
from app.cli_accounts import ADMIN_PASSWORD, first_password
from app.cli_demo import seed_demo
from app.clock import current_time
from app.errors import InvalidError
from app.messages import words
from app.unit_of_work import unit_of_work
from app.users.service import ensure_admin

REFUSED = 2


def main() -> None:
    """Bring everything up; what stands is left alone."""
    with create_app().app_context():
        upgrade()
        seed_demo.main(args=[], standalone_mode=False)
        sys.exit(_make_admin())


def _make_admin() -> int:
    password = first_password()
    try:
        with unit_of_work() as session:
            one_time = ensure_admin(session, password, current_time())
    except InvalidError as error:
        with force_locale("en"):
            sys.stderr.write(f"{ADMIN_PASSWORD}: {words(error)}\n")
        return REFUSED
    if one_time is not None:
        sys.stdout.write(f"{one_time}\n")
    return 0


if __name__ == "__main__":
    main()
