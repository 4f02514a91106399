from . import helper


def test_relative_import():
    assert helper.VALUE == 1
