#!/bin/sh
# Fetches the crates below into fetched/, each as a package of its own. Does nothing if they are there.
set -eu
crates='heapless=0.9.3 bytes=1.12.1'
mkdir -p fetched
for crate in $crates; do
    name=${crate%=*} version=${crate#*=}
    [ ! -e "fetched/$name/.complete-$version" ] || continue
    rm -rf "fetched/$name" fetched/.cache
    mkdir -p fetched/.cache/src
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n%s = "=%s"\n' \
        "$name" "$version" > fetched/.cache/Cargo.toml
    : > fetched/.cache/src/lib.rs
    (cd fetched/.cache && cargo vendor --quiet vendor > /dev/null)
    mv "fetched/.cache/vendor/$name" "fetched/$name"
    # Its own workspace, whatever lies above; and no checksums, since this changes its manifest.
    printf '\n[workspace]\n' >> "fetched/$name/Cargo.toml"
    rm -f "fetched/$name/.cargo-checksum.json"
    rm -rf fetched/.cache
    : > "fetched/$name/.complete-$version"
    echo "fetched $name $version"
done
