#!/usr/bin/env bash
# Makes what the cluster's configuration asks for: a certificate authority, a certificate for each server, nkeys for the
# nodes, for the operator and for the servers' own account. For trying it, and as a pattern: an installation that has an
# authority and a place for secrets uses those. Nothing that this writes belongs into version control.
#
# Usage: nats/cluster/make-secrets.sh [DIRECTORY [NAME[=HOST,HOST…]]…]
#
# DIRECTORY is nats/cluster/secrets unless given, and must not exist yet. The servers are n1, n2 and n3 unless given; a
# certificate is good for the server's name, localhost, 127.0.0.1 and the HOSTs (names or IPv4 addresses). Needs openssl and
# python3.
set -euo pipefail

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

for tool in openssl python3; do
    command -v "$tool" >/dev/null 2>&1 || die "$tool is not on PATH"
done

readonly days=825
readonly secrets=${1:-$(dirname "${BASH_SOURCE[0]}")/secrets}
if (($# > 1)); then servers=("${@:2}"); else servers=(n1 n2 n3); fi
[[ ! -e $secrets ]] || die "$secrets is there already: keys that are in use are not overwritten, remove it first"

# Readable for its owner only, from the first byte on.
umask 077
mkdir -p "$secrets"
cd "$secrets"

quietly() {
    "$@" 2>openssl.log || { cat openssl.log >&2; die "this failed: $*"; }
    rm -f openssl.log
}

authority() {
    quietly openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 -days "$days" \
        -subj '/CN=sync cluster authority' -addext 'keyUsage=critical,keyCertSign,cRLSign' -keyout ca-key.pem -out ca.pem
}

# certificate NAME HOST,HOST…
certificate() {
    local name=$1 host names="DNS:$1,DNS:localhost,IP:127.0.0.1"
    for host in ${2//,/ }; do
        if [[ $host =~ ^[0-9.]+$ ]]; then names+=",IP:$host"; else names+=",DNS:$host"; fi
    done
    # Among each other servers are clients as well.
    printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' \
        'extendedKeyUsage=serverAuth,clientAuth' "subjectAltName=$names" >extensions
    quietly openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 -subj "/CN=$name" \
        -keyout "$name-key.pem" -out request
    quietly openssl x509 -req -in request -CA ca.pem -CAkey ca-key.pem -sha256 -days "$days" -extfile extensions \
        -set_serial "0x$(openssl rand -hex 16)" -out "$name.pem"
    rm extensions request
}

# nkey NAME: the seed into NAME.nk, the public half to standard output. An nkey is an Ed25519 key in base32 with a letter for
# its kind in front (U: user) and a checksum behind, as `nk -gen user` and `nats auth nkey gen user` make it.
nkey() {
    quietly openssl genpkey -algorithm ed25519 -outform DER -out key.der
    quietly openssl pkey -inform DER -in key.der -pubout -outform DER -out public.der
    python3 - "$1.nk" <<'PYTHON'
import base64, binascii, pathlib, sys

SEED, USER = 18 << 3, 20 << 3

def encoded(raw):
    checked = raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(checked).decode().rstrip("=")

# In both files the key itself is what comes last.
seed, public = (pathlib.Path(name).read_bytes()[-32:] for name in ("key.der", "public.der"))
prefix = bytes([SEED | USER >> 5, (USER & 31) << 3])
pathlib.Path(sys.argv[1]).write_text(encoded(prefix + seed) + "\n")
print(encoded(bytes([USER]) + public))
PYTHON
    rm key.der public.der
}

authority
for server in "${servers[@]}"; do
    name=${server%%=*} hosts=
    [[ $server == *=* ]] && hosts=${server#*=}
    certificate "$name" "$hosts"
done
{
    printf '# Public halves of the nkeys beside this file. Made by make-secrets.sh.\n'
    printf 'NODE_NKEY: "%s"\n' "$(nkey node)"
    printf 'OPERATOR_NKEY: "%s"\n' "$(nkey operator)"
    printf 'SYSTEM_NKEY: "%s"\n' "$(nkey system)"
} >nkeys.conf

cat <<TEXT
Made in $PWD:
  ca.pem, ca-key.pem          the authority; put ca-key.pem away, servers do not need it
  NAME.pem, NAME-key.pem      each server's certificate
  node.nk                     the nodes' seed
  operator.nk, system.nk      for the nats command: see nats/README.md
  nkeys.conf                  their public halves, which common.conf takes in
TEXT
