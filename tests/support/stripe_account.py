"""The account at the local Stripe that `selling_app` sells through."""

PLANS = {"price_starter": "starter", "price_pro": "pro"}
API_KEY = "sk_test_local0stripe"
WEBHOOK_SECRET = "whsec_local0stripe0signing0secret"
