#!/bin/sh
# Makes the three packages in a repository beside the area.
set -eu
rm -rf fetched
mkdir -p fetched/sums fetched/cases
# Static: whatever C library a device has, or none.
cc -O2 -static -o fetched/sums/sums sums.c
n=0
while [ "$n" -lt 40 ]; do
    printf '%s\n%s\n=%s\n' "$n" "$((n * n))" "$((n + n * n))" > "fetched/cases/$n.case"
    n=$((n + 1))
done
muster package build fetched/cases --kind dep --repo fetched/repository
muster package build watch --kind profiler --repo fetched/repository
muster package build fetched/sums --kind test --dep dep:cases --dep profiler:watch --repo fetched/repository
