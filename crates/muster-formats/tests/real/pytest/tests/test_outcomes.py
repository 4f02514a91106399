import sys
import unittest

import pytest


def test_passes(session_value):
    assert session_value == 42


def test_fails():
    print("what it printed")
    print("to stderr", file=sys.stderr)
    assert [1, 2] == [1, 3], "lists differ"


def test_error_in_setup(broken_setup):
    pass


def test_error_in_teardown(broken_teardown):
    pass


def test_skips_itself():
    pytest.skip("not today")


@pytest.mark.skip(reason="never")
def test_is_marked_skip():
    pass


@pytest.mark.xfail(reason="bug 7")
def test_xfails():
    assert False


@pytest.mark.xfail(reason="bug 8")
def test_xpasses():
    pass


@pytest.mark.xfail(strict=True, reason="bug 9")
def test_xpasses_strictly():
    pass


class TestClass:
    def test_method(self):
        pass


class TestUnittest(unittest.TestCase):
    def test_of_unittest(self):
        self.assertEqual(1, 1)


@pytest.mark.parametrize("what", ["a/b", "a b", "x::y", "new\nline", "[brackets]", "ünï 名前", "", "-k", "a,b#1", "'\"$(x)"])
def test_parametrised(what):
    assert what is not None


def test_many_lines_in_the_message():
    raise ValueError("first line\nsecond line")
