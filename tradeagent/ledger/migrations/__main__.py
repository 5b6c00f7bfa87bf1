"""Write a migration from the difference between the scripts in `versions/` and `schema.py`: `make migration NAME=add_watchers`."""

import sys

from alembic import command
from sqlalchemy import create_engine

from tradeagent.ledger.migrate import MIGRATIONS, alembic_config, revision_of
from tradeagent.ledger.version import SCHEMA_VERSION

BASELINE = "baseline"


def write(name: str) -> None:
    """Add `versions/<SCHEMA_VERSION>_<name>.py`; the name `baseline` writes the first one anew."""
    if name == BASELINE:
        (MIGRATIONS / "versions" / f"{revision_of(1)}_{BASELINE}.py").unlink(missing_ok=True)
    with create_engine("sqlite://").connect() as connection:
        config = alembic_config(connection)
        command.upgrade(config, "head")
        command.revision(config, name, autogenerate=True, rev_id=revision_of(SCHEMA_VERSION))


if __name__ == "__main__":
    write(sys.argv[1])
