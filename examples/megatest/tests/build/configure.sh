#!/bin/sh
# Runs in a copy of this directory, one for each item.
echo "configuring $MODULE for $MT_TARGET in $MT_TEST_RUN_DIR"
test -n "$FLAGS"
