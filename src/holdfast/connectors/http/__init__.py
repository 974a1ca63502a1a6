"""The platform behind a gateway, spoken to in HTTP."""
