#!/usr/bin/env bash
# What the scripts share: where the repository is, progress with elapsed seconds, and errors that say what to do.
# Sourced, not run.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Keeps tools of a Python environment that happens to be active out of the way.
unset PYTHONHOME PYTHONPATH

say() {
    printf '[%4ds] %s\n' "$SECONDS" "$*"
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# need COMMAND MEND
need() {
    command -v "$1" >/dev/null 2>&1 || die "$1 is not on PATH: $2"
}

# need_python: 3.11 or later, for its TOML reader.
need_python() {
    need python3 'install Python 3.11 or later (Debian, Ubuntu: apt-get install python3 python3-venv)'
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "python3 is $(python3 --version 2>&1), the scripts need Python 3.11 or later"
}

# The oldest nats-server that the node works with; tests/nats_support/program.rs has the same.
readonly nats_floor=2.12.7

# good_nats_server PROGRAM: whether it runs and is recent enough.
good_nats_server() {
    local version
    version=$("$1" --version 2>/dev/null | sed -n 's/^nats-server: v\([0-9.]*\).*/\1/p') || return 1
    [[ -n $version && $(printf '%s\n' "$nats_floor" "$version" | sort -V | head -n 1) == "$nats_floor" ]]
}

# program NAME [PACKAGE...]: from these packages of Debian, else from the one of its name.
program() {
    local name=$1
    local packages=("${@:2}")
    [[ ${#packages[@]} -gt 0 ]] || packages=("$name")
    if command -v "$name" >/dev/null 2>&1; then
        return
    fi
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null 2>&1; then
        die "$name is not on PATH: install it with your package manager (Debian, Ubuntu: sudo apt-get install ${packages[*]})"
    fi
    say "setup: ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    local log=.tools/apt.log
    local install=(apt-get install -y -qq --no-install-recommends "${packages[@]}")
    mkdir -p .tools
    # The package lists of a fresh image are empty or old: the first try fails there.
    "${install[@]}" >"$log" 2>&1 ||
        { apt-get update -qq >>"$log" 2>&1 && "${install[@]}" >>"$log" 2>&1; } ||
        { tail -n 20 "$log" >&2; die "${packages[*]} could not be installed with apt-get: install by hand"; }
}

# built_node: CONTINUUM names the node that tests start, which is built if nobody named one.
built_node() {
    if [[ -z ${CONTINUUM-} ]]; then
        need cargo 'install Rust with https://rustup.rs, or say in CONTINUUM where a node is'
        cargo build --quiet --locked --bin continuum
        CONTINUUM=${CARGO_TARGET_DIR:-target}/debug/continuum
    fi
    CONTINUUM=$(realpath -m "$CONTINUUM")
    [[ -x $CONTINUUM ]] || die "there is no program at $CONTINUUM"
    export CONTINUUM
}

# typescript_client: Node.js of the setup on PATH, and in clients/typescript the packages of its lockfile.
typescript_client() {
    scripts/setup
    export PATH=$PWD/.tools/node:$PATH
    local kept=clients/typescript/node_modules/.installed
    if ! cmp -s clients/typescript/package-lock.json "$kept"; then
        say 'packages into clients/typescript/node_modules'
        (cd clients/typescript && npm ci --silent --no-audit --no-fund) ||
            die 'npm ci failed in clients/typescript: see above; it needs a package registry'
        cp clients/typescript/package-lock.json "$kept"
    fi
}
