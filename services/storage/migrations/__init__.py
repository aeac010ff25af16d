"""The schema's history. A new step: change `tables.py`, then `alembic revision --autogenerate --rev-id NNNN`."""
