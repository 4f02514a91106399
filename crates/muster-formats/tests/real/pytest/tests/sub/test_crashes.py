import os
import signal
import sys


def test_a_passes():
    pass


def test_b_is_killed():
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def test_c_comes_after():
    pass


def test_d_exits_as_if_all_were_well():
    os._exit(0)


def test_e_calls_sys_exit():
    sys.exit(0)


def test_f_forks():
    if os.fork() == 0:
        return
    os.wait()


def test_g_prints_much():
    print("x" * 8_000_000)
