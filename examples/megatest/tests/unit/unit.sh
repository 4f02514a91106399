#!/bin/sh
# A script that reports its own steps and status, as scripts of Megatest areas do.
megatest -step prepare :state start :status 0
built=$(cat "$MT_RUNPATH/build/$MODULE/built.txt")
megatest -step prepare :state end :status 0 -m "found $built"
megatest -runstep check test "$built" = "$MODULE" || exit 1
megatest -test-status :state COMPLETED :status WARN -m "checked by hand"
