"""``python -m deploy.prepare``: the server's database, its demo rows and its admin, in one process.

What ``flask db upgrade``, ``flask seed-demo`` and ``flask user ensure-admin`` do one by one; together they
cost the start of the demo one import of the server instead of three. Prints the admin's one-time password
if one was made.
"""

from flask_migrate import upgrade

from app import create_app
from app.cli_accounts import ensure_admin
from app.cli_demo import seed_demo


def main() -> None:
    """Bring everything up; what stands is left alone."""
    with create_app().app_context():
        upgrade()
        seed_demo.main(args=[], standalone_mode=False)
        ensure_admin.main(args=[], standalone_mode=False)


if __name__ == "__main__":
    main()
