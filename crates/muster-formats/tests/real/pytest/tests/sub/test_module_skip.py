import pytest

pytest.importorskip("no_such_module_either", reason="needs something optional")


def test_never():
    pass
