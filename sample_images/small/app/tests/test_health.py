import asyncio

from main import health


def test_the_service_says_that_it_is_well() -> None:
    assert asyncio.run(health()) == {"status": "ok"}
