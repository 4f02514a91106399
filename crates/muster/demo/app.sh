# What the demo's tests push to their devices and start there.
echo "starting in $1 mode"
for part in memory storage network; do
    echo "$part: ok"
done
