#!/bin/sh
# Fetches and unpacks the source distribution below into fetched/. Does nothing if it is there.
set -eu
name=more_itertools version=10.8.0
[ ! -e "fetched/.complete-$version" ] || exit 0
mkdir -p fetched
python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
    --dest fetched "more-itertools==$version"
tar -xzf "fetched/$name-$version.tar.gz" -C fetched
: > "fetched/.complete-$version"
echo "fetched $name $version"
