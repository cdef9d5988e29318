# Sourced. step NAME COMMAND...: runs a command under a heading and prints its time.
started=$SECONDS
trap 'jobs -p | xargs -r kill' EXIT # background jobs end with a script that failed
step() {
    local from=$SECONDS
    printf '\n== %s\n' "$1"
    shift
    "$@"
    printf -- '-- %d s (%d s in all)\n' "$((SECONDS - from))" "$((SECONDS - started))"
}
# finished PID LOG: waits for a background job; where it failed, the end of its log is shown.
finished() {
    wait "$1" || {
        tail "$2" >&2
        return 1
    }
    tail -n 1 "$2"
}
