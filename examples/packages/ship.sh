#!/bin/sh
# Brings the test to a device of the kind $DEVICE with what it needs, runs it there while the profiler watches, and
# says what was moved; then once more with one file edited.
set -eu
state=$PWD/fetched/device-$DEVICE
mkdir -p "$state"
case $DEVICE in
fake)
    on="fake:box?dir=$state"
    ;;
container)
    on="container:/?keep=muster-example-packages"
    # A container that is kept ends when it is told to begin anew.
    trap 'muster device reboot --no-wait --on "$on"' EXIT
    ;;
sut)
    muster sut-agent --port 0 --data-port 0 --test-root "$state" --state "$state.agent" > "$state.said" &
    agent=$!
    trap 'kill $agent' EXIT
    until [ -s "$state.said" ]; do sleep 0.1; done
    on=sut://$(sed -n 's/^commands at \([^,]*\),.*/\1/p' "$state.said")
    ;;
esac
moved=$MUSTER_WORK_DIR/moved

# Where a package is on the device: the line behind its name.
where() { sed -n "/^$1@/{n;s/^ *//p;}" "$moved"; }

bring_and_run() {
    muster package install test:sums --repo "$1" --into "fetched/host-$DEVICE" --on "$on" > "$moved"
    cat "$moved"
    watch=$(where profiler:watch)
    # Beside the packages, where tests may write.
    muster device exec --on "$on" -- sh -c '
        rm -f "$4/watch.csv"
        # It becomes the test when the profiler is there.
        (n=0; until [ -s "$4/watch.csv" ] || [ "$n" -gt 100 ]; do sleep 0.1; n=$((n + 1)); done
        exec "$1/sums" "$2") & test=$!
        "$3/profile" "$test" "$4" & watch=$!
        wait "$test"; code=$?
        kill "$watch"; wait "$watch"
        exit "$code"' sh "$(where test:sums)" "$(where dep:cases)" "$watch" "${watch%/muster-packages/*}"
}

echo "== all of it"
bring_and_run fetched/repository

echo "== one file of the dep is edited"
cp -r fetched/cases "fetched/cases-$DEVICE"
cp -r fetched/repository "fetched/repository-$DEVICE"
printf '1\n2\n3\n=6\n' > "fetched/cases-$DEVICE/17.case"
muster package build "fetched/cases-$DEVICE" --kind dep --name cases --repo "fetched/repository-$DEVICE"
bring_and_run "fetched/repository-$DEVICE"
grep -q '1 file brought (9 B), 39 were there' "$moved"
[ "$(grep -c unchanged "$moved")" = 2 ]
