"""The HTTP API, one folder a capability: `routes` (HTTP only), `schemas` (wire only), `service` (rules only)."""
