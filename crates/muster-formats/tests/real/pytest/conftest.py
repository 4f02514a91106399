import pytest


@pytest.fixture
def broken_setup():
    print("setting up")
    raise RuntimeError("no database")


@pytest.fixture
def broken_teardown():
    yield
    raise RuntimeError("cannot clean up")


@pytest.fixture(scope="session")
def session_value():
    return 42
