# step NAME COMMAND...: runs a command under a heading and prints its time. Sourced.
started=$SECONDS
step() {
    local from=$SECONDS
    printf '\n== %s\n' "$1"
    shift
    "$@"
    printf -- '-- %d s (%d s in all)\n' "$((SECONDS - from))" "$((SECONDS - started))"
}
