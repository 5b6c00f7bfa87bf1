<%
    # Alembic frames what it generates with comments that say nothing.
    steps = "\n".join(line for line in (upgrades or "pass").split("\n") if "# ###" not in line).strip()
%>\
"""Schema ${up_revision}: ${message}."""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision: str | None = ${repr(down_revision)}


def upgrade() -> None:
    ${steps}
