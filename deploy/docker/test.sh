#!/usr/bin/env bash
# Builds the images without a registry and runs them on a root file system that is only read: `make image-test`, as
# root on Debian. The base is a Debian of debootstrap with Python 3.11, so this shows the Dockerfile, not the base that
# it names. Everything stays in build/images.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for program in debootstrap buildah; do
    command -v "$program" >/dev/null || { echo "image-test needs $program: apt-get install $program" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "image-test needs root: debootstrap and buildah's chroot do" >&2; exit 1; }

folder=$PWD/build/images
mkdir -p "$folder"
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=${STORAGE_DRIVER:-overlay}
buildah() { command buildah --root "$folder/storage" --runroot "$folder/run" "$@"; }

if ! buildah inspect --type image nextclick-test-base >/dev/null 2>&1; then
    echo "Making the base"
    rm -rf "$folder/base"
    debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates bookworm "$folder/base" >"$folder/base.log"
    ln -s python3 "$folder/base/usr/bin/python"
    # Where the network has an authority of its own, pip must know it, as on this machine.
    cp /etc/ssl/certs/ca-certificates.crt "$folder/base/etc/ssl/certs/ca-certificates.crt"
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$folder/base/etc/pip.conf"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$folder/base" / >/dev/null
    buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit --quiet --rm "$container" nextclick-test-base >/dev/null
    rm -rf "$folder/base"
fi

# Runs a program in the image of a container as its user, with its variables, a root that is only read, and /tmp in memory.
read_only() {
    local container=$1
    shift
    # shellcheck disable=SC2016,SC2046  # expanded by the inner shell; the variables are several words
    unshare --mount sh -c '
        set -e
        root=$1 user=$2
        shift 2
        mount --bind "$root" "$root"
        mount --bind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/tmp"
        mount -o remount,bind,ro "$root"
        exec chroot --userspec="$user" "$root" env -i "$@"
    ' sh "$(buildah mount "$container")" "$(inspect "$container" '{{.OCIv1.Config.User}}')" \
        $(inspect "$container" '{{range .OCIv1.Config.Env}}{{.}} {{end}}') "$@"
}

# Runs the worker without a Kafka: it must pass the image's health check, and end when it is asked to.
worker_lives() {
    local container=$1 port started began took ended=0
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
    # The words of HEALTHCHECK, without CMD.
    mapfile -d '' -t check < <(buildah inspect --type image nextclick-worker | python3 -c '
import json, sys
print(*json.load(sys.stdin)["Docker"]["config"]["Healthcheck"]["Test"][1:], sep="\0", end="\0")')
    [ "${#check[@]}" -gt 1 ] || { echo "The worker's image has no health check" >&2; exit 1; }
    read_only "$container" env NEXTCLICK_HTTP_PORT="$port" nextclick-worker run >"$folder/run.log" 2>&1 &
    started=$!
    until read_only "$container" env NEXTCLICK_HTTP_PORT="$port" "${check[@]}" 2>>"$folder/check.log"; do
        if ! kill -0 "$started" 2>/dev/null || [ $((tries += 1)) = 60 ]; then
            cat "$folder/run.log" >&2
            echo "The worker does not pass its health check" >&2
            exit 1
        fi
        sleep 1
    done
    began=$(date +%s%3N)
    pkill -TERM --parent "$started"
    wait "$started" || ended=$?
    took=$(($(date +%s%3N) - began))
    if [ "$ended" != 0 ] || [ "$took" -ge 10000 ]; then
        cat "$folder/run.log" >&2
        echo "The worker ended with $ended, $took ms after SIGTERM" >&2
        exit 1
    fi
    echo "nextclick-worker run passes its health check and ends $took ms after SIGTERM"
}

inspect() { buildah inspect --format "$2" "$1"; }

tries=0
for target in ${TARGETS:-worker feeder trainer}; do
    echo "Building nextclick-$target"
    buildah bud --quiet --layers --format docker --pull-never --file deploy/docker/Dockerfile --target "$target" \
        --build-arg BASE=localhost/nextclick-test-base --tag "nextclick-$target" . >"$folder/$target.log" 2>&1 ||
        { tail -20 "$folder/$target.log" >&2; exit 1; }
    container=$(buildah from --pull-never "localhost/nextclick-$target")
    program=$(inspect "$container" '{{range .OCIv1.Config.Entrypoint}}{{.}} {{end}}')
    # shellcheck disable=SC2086  # the entrypoint is several words
    read_only "$container" $program --help >/dev/null
    [ "$(read_only "$container" id -u)" = 65532 ] || { echo "$target runs as root" >&2; exit 1; }
    ! read_only "$container" touch /var/tmp/file 2>/dev/null || { echo "$target can be written" >&2; exit 1; }
    echo "nextclick-$target starts as user 65532 on a root file system that is only read: $program--help"
    [ "$target" != worker ] || worker_lives "$container"
    buildah rm "$container" >/dev/null
done
buildah images
