"""Growth loops as code for FastAPI, Stripe and PostgreSQL."""
