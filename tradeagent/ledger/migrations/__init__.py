"""How the ledger's schema came to be, one Alembic script per version in `versions/`; README.md says how to add one."""
