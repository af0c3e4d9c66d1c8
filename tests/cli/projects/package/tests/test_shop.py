from shop.main import app


def test_the_app_has_routes() -> None:
    assert app.routes
