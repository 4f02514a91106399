#!/bin/sh
# Fetches the crate below and keeps the C sources in it. Does nothing if they are there.
set -eu
crate=libdeflate-sys version=1.26.1
[ ! -e "fetched/.complete-$version" ] || exit 0
rm -rf fetched
mkdir -p fetched/.cache/src
printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n%s = "=%s"\n' \
    "$crate" "$version" > fetched/.cache/Cargo.toml
: > fetched/.cache/src/lib.rs
(cd fetched/.cache && cargo vendor --quiet vendor > /dev/null)
mv "fetched/.cache/vendor/$crate/libdeflate" fetched/libdeflate
rm -rf fetched/.cache
: > "fetched/.complete-$version"
echo "fetched the sources of $crate $version"
